# A driver's side of the talk that play.mjs describes.
require 'json'

PORT = Integer(ENV.fetch('REDIS_PORT'))

def say(line)
  $stdout.puts(JSON.generate(line))
  $stdout.flush
  $stdin.gets
end

def runs(versions)
  say({ versions: versions })
end

def step(name)
  result =
    begin
      yield
    rescue StandardError => e
      { error: e.message }
    end
  say({ step: name, result: result })
end

def crash
  say({ crash: true })
end

# After a crash a client may need a moment to connect again; what it answers then is what counts.
def again(within_s = 15)
  deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + within_s
  begin
    yield
  rescue StandardError
    raise if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline

    sleep 0.05
    retry
  end
end
