//! What one key does when one command comes after the other: the model that every history is held against. Lives end far
//! away (or at once, which is a deletion), a thousand seconds apart, so that no clock belongs to the model and no change of
//! an end is a touch that may lag.

use todc_utils::Specification;

/// A value that is written once only, apart from what INCR makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// A JSON object, for a session table.
    Session(i64),
    /// A plain number, for the other table; INCR takes it.
    Number(i64),
    /// Two keys that only EXEC writes, and their numbers.
    Accounts(i64, i64),
}

/// A command on one key (of [`Value::Accounts`]: an EXEC on both). Ends are in Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Get,
    Set(Value),
    SetNx(Value),
    GetDel,
    Del,
    /// GETEX with PXAT.
    GetEx(i64),
    Incr,
    /// WATCH, a GET that answered `expected`, and an EXEC of SET.
    WatchedSet {
        expected: Option<Value>,
        new: Value,
    },
    /// PEXPIREAT with LT: it only shortens.
    Shorten(i64),
    /// EXPIRE with a time that is over: it deletes.
    ExpireNow,
    /// PEXPIRETIME.
    End,
}

/// A reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Ok,
    Nil,
    Value(Value),
    Integer(i64),
    NotAnInteger,
}

/// A command with its reply; `None` if nobody knows whether it took effect.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub command: Command,
    pub reply: Option<Reply>,
}

/// What INCR makes of a value stays below the next one that is written.
pub const VALUE_STEP: i64 = 1 << 16;

impl Operation {
    /// Whether it was answered with this value, or with what INCR made of it. Accounts hold the same values again and again.
    pub fn has_seen(&self, new: Value) -> bool {
        match (new, self.reply) {
            (Value::Session(new), Some(Reply::Value(Value::Session(seen)))) => new == seen,
            (Value::Number(new), Some(Reply::Value(Value::Number(seen)) | Reply::Integer(seen))) => {
                (new..new + VALUE_STEP).contains(&seen) && !matches!(self.command, Command::End)
            }
            (Value::Session(_) | Value::Number(_) | Value::Accounts(..), _) => false,
        }
    }
}

/// A key: its value and its end, if it is there.
pub type State = Option<(Value, Option<i64>)>;

/// The model.
pub struct Key;

impl Specification for Key {
    type State = State;
    type Operation = Operation;

    fn init() -> State {
        None
    }

    fn apply(operation: &Operation, state: &State) -> (bool, State) {
        let (reply, after) = run(operation.command, *state);
        (operation.reply.is_none_or(|given| given == reply), after)
    }
}

fn run(command: Command, state: State) -> (Reply, State) {
    let value = state.map(|(value, _)| value);
    let read = value.map_or(Reply::Nil, Reply::Value);
    let was_there = Reply::Integer(i64::from(state.is_some()));
    match command {
        Command::Get => (read, state),
        Command::Set(new) => (Reply::Ok, Some((new, None))),
        Command::SetNx(new) => {
            if state.is_none() {
                (Reply::Ok, Some((new, None)))
            } else {
                (Reply::Nil, state)
            }
        }
        Command::GetDel => (read, None),
        Command::Del | Command::ExpireNow => (was_there, None),
        Command::GetEx(end) => (read, value.map(|value| (value, Some(end)))),
        Command::Incr => increment(state),
        Command::WatchedSet { expected, new } if expected == value => (Reply::Ok, Some((new, None))),
        Command::WatchedSet { .. } => (Reply::Nil, state),
        Command::Shorten(end) => match state {
            Some((value, before)) if before.is_none_or(|before| end < before) => {
                (Reply::Integer(1), Some((value, Some(end))))
            }
            Some(_) | None => (Reply::Integer(0), state),
        },
        Command::End => (Reply::Integer(state.map_or(-2, |(_, end)| end.unwrap_or(-1))), state),
    }
}

fn increment(state: State) -> (Reply, State) {
    match state {
        None => (Reply::Integer(1), Some((Value::Number(1), None))),
        Some((Value::Number(number), end)) => (Reply::Integer(number + 1), Some((Value::Number(number + 1), end))),
        Some((Value::Session(_) | Value::Accounts(..), _)) => (Reply::NotAnInteger, state),
    }
}
