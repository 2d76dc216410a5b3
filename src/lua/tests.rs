//! What a script can do, and what it cannot, without any key.

use std::time::Duration;

use super::*;

/// Answers what it was asked.
struct Echo;

impl Host for Echo {
    fn call(&mut self, words: Vec<Bytes>) -> Reply {
        match &*words[0] {
            b"fail" => Reply::Error("WRONGTYPE no".to_owned()),
            b"map" => Reply::Map(vec![(Reply::text("a"), Reply::Integer(1))]),
            b"nil" => Reply::Null,
            _ => Reply::Array(words.into_iter().map(Reply::Bulk).collect()),
        }
    }

    fn allows(&mut self, words: &[Bytes]) -> Option<bool> {
        (&*words[0] != b"nosuch").then(|| &*words[0] == b"get")
    }
}

fn state() -> State {
    State::new("7.0.15").expect("a state")
}

fn run_in(state: &mut State, text: &str) -> Reply {
    let script = Script::read(Bytes::copy_from_slice(text.as_bytes())).expect("a script");
    let limit = Limit::Until(Instant::now() + Duration::from_secs(60));
    state.run(&script, &[Bytes::from_static(b"k")], &[], limit, &mut Echo).expect("it ends")
}

fn run(text: &str) -> Reply {
    run_in(&mut state(), text)
}

fn text(text: &str) -> Reply {
    Reply::text(text)
}

#[test]
fn values_become_replies_and_replies_values() {
    assert_eq!(run("return {1, 2.9, 'a', true, {false, {}}, nil, 3}"), {
        let inner = Reply::Array(vec![Reply::Null, Reply::Array(vec![])]);
        Reply::Array(vec![Reply::Integer(1), Reply::Integer(2), text("a"), Reply::Integer(1), inner])
    });
    assert_eq!(run("redis.setresp(3) return redis.call('map').map.a"), Reply::Integer(1));
    assert_eq!(run("return redis.call('map')[1]"), text("a"));
    assert_eq!(run("return tostring(redis.call('nil'))"), text("false"));
    assert_eq!(run("redis.setresp(3) return tostring(redis.call('nil'))"), text("nil"));
    assert_eq!(
        run("return redis.call('x', 3.7, 10)"),
        Reply::Array(vec![text("x"), text("3.7000000000000002"), text("10")])
    );
    assert_eq!(
        run("return redis.call('fail')"),
        Reply::Error(format!(
            "WRONGTYPE no script: {}, on @user_script:1.",
            script::hex(&script::sha_of(b"return redis.call('fail')"))
        ))
    );
    assert_eq!(run("return redis.pcall('fail')"), Reply::Error("WRONGTYPE no".to_owned()));
    assert_eq!(run("local ok, e = pcall(redis.call, 'fail') return e"), text("WRONGTYPE no"));
}

#[test]
fn no_script_reaches_beyond_its_box_or_changes_it_for_the_next() {
    let mut state = state();
    for escape in [
        "return io",
        "return os",
        "return require",
        "return package",
        "return dofile",
        "return loadfile",
        "return print",
        "return debug",
        "return module",
        "return setfenv",
        "return getfenv",
        "return newproxy",
        "x = 1",
        "string.format = 1",
        "redis.call = 1",
        "_G.tostring = 1",
        "rawset(_G, 'x', 1)",
        "rawset(redis, 'call', 1)",
        "rawset(string, 'rep', 1)",
        "setmetatable(_G, {})",
        "getmetatable('').__index = 1",
        "getmetatable(_G).__index = 1",
        "getmetatable(getmetatable('')).__newindex = 1",
        "table.insert(_G, 1)",
        "loadstring('x = 1')()",
        "setmetatable(getmetatable(''), {})",
        "math.random = 1",
        "cjson.encode = 1",
        "coroutine.wrap = 1",
        "loadstring(string.dump(function() end))()",
        "for k, v in pairs(_G) do if k == 'string' then v.rep = 1 end end",
    ] {
        assert!(matches!(run_in(&mut state, escape), Reply::Error(_)), "{escape}");
    }
    assert_eq!(run_in(&mut state, "return {type(redis.call), ('x'):rep(2), #KEYS}"), {
        Reply::Array(vec![text("function"), text("xx"), Reply::Integer(1)])
    });
}

#[test]
fn memory_is_bounded_and_the_next_script_has_all_of_it() {
    let mut state = state();
    for greedy in [
        "local t = {} while true do t[#t + 1] = {} end",
        "local s = 'x' while true do s = s .. s end",
        "return string.rep('x', 1e9)",
        "local t = {} while true do pcall(function() while true do t[#t + 1] = ('x'):rep(1000) .. #t end end) end",
    ] {
        let script = Script::read(Bytes::copy_from_slice(greedy.as_bytes())).expect("a script");
        let limit = Limit::Until(Instant::now() + Duration::from_secs(5));
        let reply = state.run(&script, &[], &[], limit, &mut Echo);
        assert!(matches!(&reply, Err(Stopped) | Ok(Reply::Error(_))), "{greedy}: {reply:?}");
        assert!(state.lua.used_memory() <= MEMORY_BYTES_MAX, "{greedy}");
        assert_eq!(run_in(&mut state, "return #string.rep('x', 1e6)"), Reply::Integer(1_000_000), "after {greedy}");
    }
    let doubled = "local t = {1} for i = 1, 40 do t = {t, t} end return t";
    assert_eq!(run_in(&mut state, doubled), Reply::Error("ERR the reply of the script is too large".to_owned()));
    assert!(matches!(
        run_in(&mut state, "local t = {1} for i = 1, 40 do t = {t, t} end return cjson.encode(t)"),
        Reply::Error(_)
    ));
}

#[test]
fn a_script_that_never_ends_is_stopped_whatever_it_catches() {
    let mut state = state();
    for endless in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "local function f() while true do pcall(f) end end f()",
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        "pcall(coroutine.resume, coroutine.create(function() while true do end end)) while true do pcall(function() while true do end end) end",
        "while true do coroutine.wrap(function() pcall(function() while true do end end) end)() end",
        "local function f() return f() end f()",
        "while true do redis.pcall('x') end",
        "return string.rep('', 1e15)",
        "return string.find(string.rep('a', 100000), '.-.-.-.-.-.-b')",
        "return string.gsub(string.rep('a', 100000), 'a-a-a-a-b', '')",
        "while true do pcall(string.match, string.rep('a', 100000), 'a*a*a*a*b') end",
        "local t = setmetatable({}, {__index = function() while true do end end}) return t.x",
    ] {
        let script = Script::read(Bytes::copy_from_slice(endless.as_bytes())).expect("a script");
        let begun = Instant::now();
        let limit = Limit::Until(begun + Duration::from_millis(20));
        let outcome = state.run(&script, &[], &[], limit, &mut Echo);
        assert!(outcome == Err(Stopped) || endless.contains("1e15"), "{endless}: {outcome:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{endless}");
        assert_eq!(run_in(&mut state, "return 1"), Reply::Integer(1), "after {endless}");
    }
}

#[test]
fn json_comes_back_as_it_went() {
    let json = r#"{"a":[1,2.5,null,true,"\u00e9\ud83d\ude00\n"],"b":{}}"#;
    let back = "local v = cjson.decode(ARGV[1] or KEYS[1]) return cjson.encode(v.a)";
    let script = Script::read(Bytes::from_static(back.as_bytes())).expect("a script");
    let limit = Limit::Until(Instant::now() + Duration::from_secs(60));
    let reply = state().run(&script, &[], &[Bytes::from_static(json.as_bytes())], limit, &mut Echo);
    assert_eq!(reply, Ok(text("[1,2.5,null,true,\"é😀\\n\"]")));
    let deep = "return cjson.encode(cjson.decode(string.rep('[', 128) .. string.rep(']', 128)))";
    assert!(matches!(run(deep), Reply::Bulk(_)));
}

#[test]
fn what_cannot_be_compiled_is_refused_and_not_kept() {
    let mut state = state();
    let script = Script::read(Bytes::from_static(b"foo bar")).expect("a script");
    let refusal = "ERR Error compiling script (new function): user_script:1: '=' expected near 'bar'";
    assert_eq!(state.compile(&script).map(drop), Err(refusal.to_owned()));
    assert!(state.compiled.is_empty());
}
