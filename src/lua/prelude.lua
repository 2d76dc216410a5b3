-- What a script may see, and nothing else. Runs once in each state, before any script, with all that it needs in
-- locals: what scripts do to their own names must never reach this file.
local library, host = ...

local type, error, next, select, tostring = type, error, next, select, tostring
local rawget, rawset, setmetatable, getmetatable = rawget, rawset, setmetatable, getmetatable
local pcall, xpcall, loadstring, collectgarbage, tonumber = pcall, xpcall, loadstring, collectgarbage, tonumber
local unpack = unpack
local sub, rep, where = string.sub, string.rep, host.where
local concat, insert = table.concat, table.insert

local readonly = 'Attempt to modify a readonly table'
local behind = setmetatable({}, { __mode = 'k' })
local sealed

-- An empty table in front of another: what it lacks is looked up there, and nothing can be put into it.
local function seal(inner)
    local front = {}
    behind[front] = inner
    return setmetatable(front, {
        __index = inner,
        __newindex = function() error(readonly, 2) end,
        __metatable = sealed,
    })
end
sealed = seal({})
getmetatable(sealed).__metatable = sealed

local function refuse_sealed(object)
    if behind[object] then error(readonly, 0) end
end

local function argument_error(number, name, expected, got)
    error(concat { 'bad argument #', number, " to '", name, "' (", expected, ' expected, got ', got, ')' }, 3)
end

local basic = {
    _VERSION = _VERSION, assert = assert, error = error, gcinfo = gcinfo, getmetatable = getmetatable, ipairs = ipairs,
    rawequal = rawequal, select = select, tonumber = tonumber, tostring = tostring, type = type, unpack = unpack,
}

function basic.next(object, key) return next(behind[object] or object, key) end

function basic.pairs(object)
    local inner = behind[object]
    if not inner then return next, object, nil end
    return function(_, key) return next(inner, key) end, object, nil
end

function basic.rawget(object, key) return rawget(behind[object] or object, key) end

function basic.rawset(object, key, value)
    refuse_sealed(object)
    return rawset(object, key, value)
end

function basic.setmetatable(object, metatable)
    refuse_sealed(object)
    return setmetatable(object, metatable)
end

-- What was raised outside of Lua is no value of Lua's; a refusal of redis.call is a table for whom it is told at once, and a
-- string for whom it is told later, since scripts of all times expect one.
local told = host.told

local function raised(value)
    if type(value) ~= 'userdata' then return value end
    local line, is_refusal = told(value)
    if is_refusal then return { err = line } end
    return line
end

local function caught(ok, value, ...)
    if ok then return ok, value, ... end
    value = raised(value)
    if type(value) == 'table' and type(rawget(value, 'err')) == 'string' then return ok, rawget(value, 'err') end
    return ok, value
end

function basic.pcall(...) return caught(pcall(...)) end

-- Lua runs a handler where the error was raised, and from within a hook without any further hook: one that never ends could
-- not be stopped.
local function handled(handler, ok, value, ...)
    if ok then return ok, value, ... end
    local _, answer = pcall(handler, raised(value))
    return false, answer
end

function basic.xpcall(call, handler) return handled(handler, pcall(call)) end

-- Compiled chunks are not checked by Lua and could do anything to this process.
function basic.loadstring(text, name)
    if type(text) == 'string' and sub(text, 1, 1) == '\27' then
        return nil, '[string "?"]:1: unexpected symbol near \'char(27)\''
    end
    return loadstring(text, name)
end

function basic.load(reader, name)
    if type(reader) ~= 'function' then argument_error(1, 'load', 'function', type(reader)) end
    local parts = {}
    while true do
        local part = reader()
        if part == nil or part == '' then break end
        if type(part) ~= 'string' then return nil, 'reader function must return a string' end
        parts[#parts + 1] = part
    end
    return basic.loadstring(concat(parts), name or '=(load)')
end

-- A script must not switch off for those after it what keeps the memory bounded.
function basic.collectgarbage(option, ...)
    if option == nil or option == 'collect' or option == 'count' then return collectgarbage(option or 'collect') end
    return 0
end

local strings = {}
for name, value in next, string do strings[name] = value end
-- The empty string repeated is a loop without end in which no instruction is counted.
function strings.rep(text, count)
    if text == '' then count = 0 end
    return rep(text, count)
end

local search, search_plain = host.search, host.search_plain

local function text_of(value, number, name)
    if type(value) == 'string' then return value end
    if type(value) == 'number' then return value .. '' end
    argument_error(number, name, 'string', value == nil and 'no value' or type(value))
end

-- Where to begin: a negative place counts from the end.
local function place_in(text, place)
    place = place and (tonumber(place) or argument_error(3, 'find', 'number', type(place))) or 1
    if place < 0 then place = #text + place + 1 end
    if place < 1 then return 1 end
    return place > #text and #text + 1 or place
end

local function captures(text, first, last, ...)
    if select('#', ...) > 0 then return ... end
    return sub(text, first, last)
end

-- What a search found, or the error of its pattern where the script stands.
local function checked(first, last, ...)
    if first == false then error(last, 3) end
    return first, last, ...
end

local function matched(text, first, last, ...)
    if not first then return nil end
    return captures(text, first, last, ...)
end

function strings.find(text, pattern, place, plain)
    text, pattern = text_of(text, 1, 'find'), text_of(pattern, 2, 'find')
    place = place_in(text, place)
    if plain then
        local first = checked(search_plain(text, pattern, place))
        if not first then return nil end
        return first, first + #pattern - 1
    end
    local function found(first, last, ...)
        if not first then return nil end
        return first, last, ...
    end
    return found(checked(search(text, pattern, place)))
end

function strings.match(text, pattern, place)
    text, pattern = text_of(text, 1, 'match'), text_of(pattern, 2, 'match')
    return matched(text, checked(search(text, pattern, place_in(text, place))))
end

function strings.gmatch(text, pattern)
    text, pattern = text_of(text, 1, 'gmatch'), text_of(pattern, 2, 'gmatch')
    local at = 1
    local function advance(first, last, ...)
        if not first then
            at = #text + 2
            return nil
        end
        at = last < first and first + 1 or last + 1
        return captures(text, first, last, ...)
    end
    return function()
        if at > #text + 1 then return nil end
        return advance(checked(search(text, pattern, at)))
    end
end
strings.gfind = strings.gmatch

-- A replacement in which %1 stands for a capture.
local function filled(replacement, whole, found)
    local parts, at = {}, 1
    while true do
        local sign = search_plain(replacement, '%', at)
        if not sign then break end
        parts[#parts + 1] = sub(replacement, at, sign - 1)
        local letter = sub(replacement, sign + 1, sign + 1)
        local number = tonumber(letter)
        if not number then parts[#parts + 1] = letter
        elseif number == 0 or (number == 1 and not found[3]) then parts[#parts + 1] = whole
        elseif found[number + 2] then parts[#parts + 1] = found[number + 2]
        else error('invalid capture index', 3) end
        at = sign + 2
    end
    parts[#parts + 1] = sub(replacement, at)
    return concat(parts)
end

local function replaced(replacement, whole, found)
    local kind, value = type(replacement), nil
    if kind == 'string' then return filled(replacement, whole, found) end
    if kind == 'table' then value = replacement[found[3] or whole]
    elseif found[3] then value = replacement(unpack(found, 3))
    else value = replacement(whole) end
    if not value then return whole end
    if type(value) ~= 'string' and type(value) ~= 'number' then
        error('invalid replacement value (a ' .. type(value) .. ')', 3)
    end
    return value
end

function strings.gsub(text, pattern, replacement, most)
    text, pattern = text_of(text, 1, 'gsub'), text_of(pattern, 2, 'gsub')
    if type(replacement) == 'number' then replacement = replacement .. '' end
    local kind = type(replacement)
    if kind ~= 'string' and kind ~= 'table' and kind ~= 'function' then
        error("bad argument #3 to 'gsub' (string/function/table expected)", 2)
    end
    local is_anchored = sub(pattern, 1, 1) == '^'
    local parts, count, at = {}, 0, 1
    while count < (most or #text + 1) do
        local found = { checked(search(text, pattern, at)) }
        local first, last = found[1], found[2]
        if not first then break end
        count = count + 1
        parts[#parts + 1] = sub(text, at, first - 1)
        parts[#parts + 1] = replaced(replacement, sub(text, first, last), found)
        at = last + 1
        if last < first then
            parts[#parts + 1] = sub(text, first, first)
            at = first + 1
        end
        if is_anchored or at > #text + 1 then break end
    end
    parts[#parts + 1] = sub(text, at)
    return concat(parts), count
end

local tables = {}
for name, value in next, table do tables[name] = value end
function tables.insert(object, ...)
    refuse_sealed(object)
    return insert(object, ...)
end

local numbers = {}
for name, value in next, math do numbers[name] = value end
numbers.random, numbers.randomseed = host.random, host.randomseed

local json = { _NAME = 'cjson', _VERSION = '2.1.0', null = host.null }
json.encode, json.decode = host.encode, host.decode

local bits = {}
for name, value in next, host.bits do bits[name] = value end

local redis = {
    LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
    REPL_NONE = 0, REPL_AOF = 1, REPL_SLAVE = 2, REPL_REPLICA = 2, REPL_ALL = 3,
    REDIS_VERSION = host.version, REDIS_VERSION_NUM = host.version_number,
}

-- These refuse from outside of Lua: a function of Lua's that is called last takes the place of its caller, whose line would
-- be lost.
local native = host.native
redis.call, redis.acl_check_cmd = host.ask(true), host.ask(false)

function redis.pcall(...) return (host.call(true, ...)) end

local function single_field(field)
    return function(...)
        local text = ...
        if select('#', ...) ~= 1 or type(text) ~= 'string' then return { err = 'ERR wrong number or type of arguments' } end
        if field == 'err' then text = host.error_line(text) end
        return { [field] = text }
    end
end
redis.error_reply, redis.status_reply = single_field('err'), single_field('ok')

redis.sha1hex = native(function(...)
    if select('#', ...) ~= 1 then return 'wrong number of arguments' end
    return nil, host.sha1hex(tostring((...)))
end)

redis.setresp = native(function(...)
    if select('#', ...) ~= 1 then return 'redis.setresp() requires one argument.' end
    if ... ~= 2 and ... ~= 3 then return 'RESP version must be 2 or 3.' end
    host.setresp(...)
end)

redis.log = native(function(...)
    local level = ...
    if select('#', ...) < 2 then return 'redis.log() requires two arguments or more.' end
    if type(level) ~= 'number' then return 'First argument must be a number (log level).' end
    if level < 0 or level > 3 then return 'Invalid debug level.' end
end)

redis.set_repl = native(function(...)
    local flags = ...
    if select('#', ...) ~= 1 then return 'redis.set_repl() requires two arguments.' end
    if type(flags) ~= 'number' or flags < 0 or flags > 3 then
        return 'Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.'
    end
end)

function redis.replicate_commands() return true end
function redis.breakpoint() return false end
function redis.debug() end

for name, value in next, basic do library[name] = value end
library.string, library.table, library.math = seal(strings), seal(tables), seal(numbers)
library.cjson, library.bit, library.redis = seal(json), seal(bits), seal(redis)
local coroutines = {}
for name, value in next, coroutine do coroutines[name] = value end
local resume = coroutine.resume
function coroutines.resume(...) return caught(resume(...)) end
library.coroutine = seal(coroutines)

-- The real table of globals stays empty: whatever it is asked for stands in `library`, where scripts cannot write.
local globals = _G
getmetatable('').__index = strings
getmetatable('').__metatable = sealed
for name in next, globals do globals[name] = nil end
library._G = globals
setmetatable(library, {
    __index = function(_, name)
        error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
    end,
})
behind[globals] = library
setmetatable(globals, {
    __index = library,
    __newindex = function() error(readonly, 2) end,
    __metatable = sealed,
})

-- What is told of an error that nobody caught, and where it was raised.
local function place_of(err)
    err = raised(err)
    local line
    if type(err) == 'table' then line = rawget(err, 'err') else line = 'ERR ' .. tostring(err) end
    return { line, where() }
end

return function(script) return xpcall(script, place_of) end
