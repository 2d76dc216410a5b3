# redis-rack: Rack's sessions by redis-store. The life is that of ../node/life.mjs.
require_relative 'act'
require 'rack'
require 'rack/session/redis'

LONG_S = 3600
BRIEF_S = 2
# Slept and not polled: a read is a touch here.
SURELY_OVER_S = 3.2

runs('redis-rack' => Gem.loaded_specs['redis-rack']&.version&.to_s || Redis::Rack::VERSION,
     # A security fix of Debian's changes the last figure.
     'rack' => Rack.release[/\A\d+\.\d+/], 'redis' => Redis::VERSION)

ROUTES = {
  '/login' => lambda { |session, request|
    session['user'] = request.params['user']
    session['visits'] = 0
  },
  '/me' => ->(session, _) { session['user'] && { user: session['user'], visits: session['visits'] } },
  '/visit' => ->(session, _) { session['visits'] += 1 },
  # Read first, as any app does: Rack drops the old record before it loads what it has not loaded yet.
  '/regenerate' => lambda { |session, _|
    session['user']
    session.options[:renew] = true
  },
  '/logout' => ->(session, _) { session.destroy }
}.freeze

APP = lambda { |env|
  request = Rack::Request.new(env)
  answer = ROUTES.fetch(request.path_info).call(request.session, request)
  [200, { 'content-type' => 'application/json' }, [JSON.generate(answer)]]
}

def app_of(seconds)
  @apps ||= {}
  @apps[seconds] ||= Rack::Session::Redis.new(APP, redis_server: "redis://127.0.0.1:#{PORT}/1/rack:session", expire_after: seconds)
end

Browser = Struct.new(:app, :cookie) do
  def get(path)
    response = Rack::MockRequest.new(app).get(path, { 'HTTP_COOKIE' => cookie || '' })
    line = response.headers['Set-Cookie']
    self.cookie = Array(line).first.split(';').first if line
    JSON.parse(response.body)
  end
end

def create(user, seconds)
  browser = Browser.new(app_of(seconds))
  browser.get("/login?user=#{user}")
  browser
end

# A copy: an unknown session gets a fresh cookie, which would take the place of the one that is to be read again.
def read(browser)
  browser.dup.get('/me')
end

ada = grace = nil
modify = lambda {
  ada.get('/visit')
  read(ada)
}
both = -> { [again { read(ada) }, again { read(grace) }] }
step('create') do
  ada = create('ada', LONG_S)
  grace = create('grace', LONG_S)
  'created'
end
step('read', &both)
step('modify', &modify)
step('touch') { read(ada) }
step('list') { 'not offered' }
step('regenerate') do
  old = ada
  ada = ada.dup
  ada.get('/regenerate')
  { old: read(old), new: read(ada) }
end
step('expire') do
  brief = create('brief', BRIEF_S)
  first = read(brief)
  sleep SURELY_OVER_S
  { first: first, then: read(brief) }
end
crash
step('read after the crash', &both)
step('modify after the crash', &modify)
step('destroy') do
  grace.dup.get('/logout')
  read(grace)
end
crash
step('read after the second crash', &both)
say({ done: true })
