//! The plain model: two maps of keys to values and absolute ends, and what Redis 7.0 says each command does to them. It
//! shares no code with the server.

use std::collections::BTreeMap;

use super::call::{Bytes, Call, End, HashCall, Only, Rule, SetCall, Unit};
use super::support::resp::Frame;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(Vec<u8>),
    /// In the order in which the fields came.
    Hash(Vec<(Vec<u8>, Vec<u8>)>),
    /// In the order in which the members came.
    Set(Vec<Vec<u8>>),
}

/// A key's value, and its end in Unix milliseconds.
pub type Life = (Value, Option<i64>);

impl Value {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::Hash(_) => "hash",
            Self::Set(_) => "set",
        }
    }

    /// The bytes of its row: a text as it is; of the others a one, how many entries, and each piece behind its length.
    pub fn stored(&self) -> Vec<u8> {
        let (entries, pieces): (usize, Vec<&Vec<u8>>) = match self {
            Self::Text(text) => return text.clone(),
            Self::Hash(fields) => (fields.len(), fields.iter().flat_map(|(field, value)| [field, value]).collect()),
            Self::Set(members) => (members.len(), members.iter().collect()),
        };
        let mut stored = [&[1][..], &u32::try_from(entries).expect("few").to_be_bytes()].concat();
        for piece in pieces {
            stored.push(u8::try_from(piece.len()).ok().filter(|length| *length < 128).expect("short"));
            stored.extend_from_slice(piece);
        }
        stored
    }

    /// What GET, HGETALL or SMEMBERS answers, whichever is its own.
    pub fn whole(&self) -> Frame {
        match self {
            Self::Text(text) => bulk(Some(text.clone())),
            Self::Hash(fields) => list(fields.iter().flat_map(|(field, value)| [field.clone(), value.clone()])),
            Self::Set(members) => list(members.iter().cloned()),
        }
    }
}

fn list(items: impl Iterator<Item = Vec<u8>>) -> Frame {
    Frame::Aggregate(b'*', Some(items.map(|item| bulk(Some(item))).collect()))
}

/// All keys that live.
#[derive(Clone, Debug)]
pub struct Plain {
    pub databases: [BTreeMap<Vec<u8>, Life>; 2],
    pub selected: usize,
    pub now_ms: i64,
}

fn ok() -> Frame {
    Frame::Line(b'+', b"OK".to_vec())
}

fn int(number: i64) -> Frame {
    Frame::Line(b':', number.to_string().into_bytes())
}

fn count(number: usize) -> Frame {
    int(i64::try_from(number).expect("few"))
}

fn bulk(value: Option<Vec<u8>>) -> Frame {
    Frame::Bulk(b'$', value)
}

fn error(text: &str) -> Frame {
    Frame::Line(b'-', text.as_bytes().to_vec())
}

/// Redis reads a number only as it would write it.
fn number(value: &[u8]) -> Option<i64> {
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok());
    number.filter(|number| number.to_string().as_bytes() == value)
}

impl Plain {
    pub fn new(now_ms: i64) -> Self {
        Self { databases: Default::default(), selected: 0, now_ms }
    }

    /// The clock moves; what has ended is gone.
    pub fn advance_to(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        for keys in &mut self.databases {
            keys.retain(|_, (_, end)| end.is_none_or(|end| end > now_ms));
        }
    }

    /// The ends of all keys that have one, in order.
    pub fn ends(&self) -> Vec<i64> {
        let mut ends: Vec<i64> = self.databases.iter().flatten().filter_map(|(_, (_, end))| *end).collect();
        ends.sort_unstable();
        ends
    }

    pub fn keys(&self) -> &BTreeMap<Vec<u8>, Life> {
        &self.databases[self.selected]
    }

    fn life(&self, key: Bytes) -> Option<&Life> {
        self.keys().get(key)
    }

    /// The text at a key, if there is one.
    fn value(&self, key: Bytes) -> Option<Vec<u8>> {
        self.text_and_end(key).map(|(text, _)| text)
    }

    fn text_and_end(&self, key: Bytes) -> Option<(Vec<u8>, Option<i64>)> {
        match self.life(key)? {
            (Value::Text(text), end) => Some((text.clone(), *end)),
            (Value::Hash(_) | Value::Set(_), _) => None,
        }
    }

    fn fields(&self, key: Bytes) -> Vec<(Vec<u8>, Vec<u8>)> {
        match self.life(key) {
            Some((Value::Hash(fields), _)) => fields.clone(),
            Some((Value::Text(_) | Value::Set(_), _)) | None => Vec::new(),
        }
    }

    fn members(&self, key: Bytes) -> Vec<Vec<u8>> {
        match self.life(key) {
            Some((Value::Set(members), _)) => members.clone(),
            Some((Value::Text(_) | Value::Hash(_), _)) | None => Vec::new(),
        }
    }

    fn end(&self, key: Bytes) -> Option<i64> {
        self.life(key).and_then(|(_, end)| *end)
    }

    /// A key with an end that has passed is not there.
    fn put(&mut self, key: Bytes, text: Vec<u8>, end: Option<i64>) {
        self.put_value(key, Value::Text(text), end);
    }

    /// The same of any kind. One without entries is none.
    fn put_value(&mut self, key: Bytes, value: Value, end: Option<i64>) {
        let is_empty = match &value {
            Value::Text(_) => false,
            Value::Hash(fields) => fields.is_empty(),
            Value::Set(members) => members.is_empty(),
        };
        if is_empty || end.is_some_and(|end| end <= self.now_ms) {
            self.remove(key);
        } else {
            self.databases[self.selected].insert(key.to_vec(), (value, end));
        }
    }

    fn remove(&mut self, key: Bytes) -> Option<Life> {
        self.databases[self.selected].remove(key)
    }

    /// Does what a command does; answers its reply.
    pub fn run(&mut self, call: &Call) -> Frame {
        if let Some((key, kind)) = call.wants()
            && self.life(key).is_some_and(|(value, _)| value.kind() != kind)
        {
            return error("WRONGTYPE Operation against a key holding the wrong kind of value");
        }
        match call {
            Call::Get(key) => bulk(self.value(key)),
            Call::GetDel(key) => {
                let before = self.value(key);
                self.remove(key);
                bulk(before)
            }
            Call::GetSet(key, value) => {
                let before = self.value(key);
                self.put(key, value.to_vec(), None);
                bulk(before)
            }
            Call::GetEx(key, end) => self.get_ex(key, *end),
            Call::Set { key, value, only, get, end } => self.set(key, value, *only, *get, *end),
            Call::SetTtl { key, value, millis, delta_ms } => {
                let unit = if *millis { Unit::Millis } else { Unit::Seconds };
                self.set(key, value, None, false, End::In(unit, *delta_ms))
            }
            Call::SetNx(key, value) => self.set_all(&[(*key, *value)], true),
            Call::MGet(keys) => Frame::Aggregate(b'*', Some(keys.iter().map(|key| bulk(self.value(key))).collect())),
            Call::MSet { pairs, only_new } => self.set_all(pairs, *only_new),
            Call::Append(key, piece) => self.append(key, piece),
            Call::SetRange(key, at, piece) => self.set_range(key, *at, piece),
            Call::StrLen(key) => count(self.value(key).map_or(0, |value| value.len())),
            Call::IncrBy(key, by) => self.incr_by(key, *by),
            Call::Hash(key, call) => self.run_hash(key, call),
            Call::Members(key, call) => self.run_set(key, call),
            Call::Type(key) => {
                Frame::Line(b'+', self.life(key).map_or("none", |(value, _)| value.kind()).as_bytes().to_vec())
            }
            Call::Expire { key, unit, delta_ms, rule } => self.expire(key, unit.at(self.now_ms, *delta_ms).1, *rule),
            Call::Persist(key) => {
                let had_end = self.end(key).is_some();
                if let Some((_, end)) = self.databases[self.selected].get_mut(*key) {
                    *end = None;
                }
                count(usize::from(had_end))
            }
            Call::Left(key, unit) => self.left(key, *unit),
            Call::Exists(keys) => count(keys.iter().filter(|key| self.life(key).is_some()).count()),
            Call::Delete { keys, .. } => count(keys.iter().filter(|key| self.remove(key).is_some()).count()),
            Call::Rename { from, to, only_new } => self.rename(from, to, *only_new),
            Call::DbSize => count(self.keys().len()),
            Call::FlushDb => {
                self.databases[self.selected].clear();
                ok()
            }
            Call::Select(number) => {
                self.selected = usize::from(*number);
                ok()
            }
        }
    }

    fn get_ex(&mut self, key: Bytes, end: End) -> Frame {
        let Some((value, before)) = self.text_and_end(key) else { return bulk(None) };
        let end = match end {
            End::Unsaid => before,
            End::Word => None,
            End::In(unit, delta_ms) => Some(unit.positive(self.now_ms, delta_ms).1),
        };
        self.put(key, value.clone(), end);
        bulk(Some(value))
    }

    fn set(&mut self, key: Bytes, value: Bytes, only: Option<Only>, get: bool, end: End) -> Frame {
        let before = self.life(key).cloned();
        let writes = match only {
            None => true,
            Some(Only::IfMissing) => before.is_none(),
            Some(Only::IfThere) => before.is_some(),
        };
        let (old, old_end) = (self.value(key), before.and_then(|(_, end)| end));
        if writes {
            let end = match end {
                End::Unsaid => None,
                End::Word => old_end,
                End::In(unit, delta_ms) => Some(unit.positive(self.now_ms, delta_ms).1),
            };
            self.put(key, value.to_vec(), end);
        }
        match (get, writes) {
            (true, _) => bulk(old),
            (false, true) => ok(),
            (false, false) => bulk(None),
        }
    }

    fn set_all(&mut self, pairs: &[(Bytes, Bytes)], only_new: bool) -> Frame {
        let writes = !only_new || pairs.iter().all(|(key, _)| self.life(key).is_none());
        if writes {
            pairs.iter().for_each(|(key, value)| self.put(key, value.to_vec(), None));
        }
        if only_new { count(usize::from(writes)) } else { ok() }
    }

    fn append(&mut self, key: Bytes, piece: Bytes) -> Frame {
        let (mut value, end) = self.text_and_end(key).unwrap_or_default();
        value.extend_from_slice(piece);
        let length = value.len();
        self.put(key, value, end);
        count(length)
    }

    fn set_range(&mut self, key: Bytes, at: usize, piece: Bytes) -> Frame {
        let (mut value, end) = self.text_and_end(key).unwrap_or_default();
        if piece.is_empty() {
            return count(value.len());
        }
        value.resize(value.len().max(at + piece.len()), 0);
        value[at..at + piece.len()].copy_from_slice(piece);
        let length = value.len();
        self.put(key, value, end);
        count(length)
    }

    fn incr_by(&mut self, key: Bytes, by: i64) -> Frame {
        let (value, end) = self.text_and_end(key).unwrap_or((b"0".to_vec(), None));
        let Some(number) = number(&value) else {
            return error("ERR value is not an integer or out of range");
        };
        let Some(sum) = number.checked_add(by) else {
            return error("ERR increment or decrement would overflow");
        };
        self.put(key, sum.to_string().into_bytes(), end);
        int(sum)
    }

    fn run_hash(&mut self, key: Bytes, call: &HashCall) -> Frame {
        match call {
            HashCall::Put(pairs) => self.set_fields(key, pairs),
            HashCall::Delete(fields) => {
                let mut all = self.fields(key);
                let before = all.len();
                all.retain(|(field, _)| !fields.contains(&&field[..]));
                let removed = before - all.len();
                self.put_back(key, Value::Hash(all));
                count(removed)
            }
            HashCall::Get(wanted) => {
                bulk(self.fields(key).into_iter().find(|(field, _)| field == wanted).map(|(_, value)| value))
            }
            HashCall::All => Value::Hash(self.fields(key)).whole(),
            HashCall::IncrBy(field, by) => self.incr_field(key, field, *by),
        }
    }

    fn run_set(&mut self, key: Bytes, call: &SetCall) -> Frame {
        let mut all = self.members(key);
        let before = all.len();
        match call {
            SetCall::All => return Value::Set(all).whole(),
            SetCall::Add(members) => {
                for member in members {
                    if !all.iter().any(|other| other == member) {
                        all.push(member.to_vec());
                    }
                }
            }
            SetCall::Remove(members) => all.retain(|member| !members.contains(&&member[..])),
        }
        let changed = before.abs_diff(all.len());
        self.put_back(key, Value::Set(all));
        count(changed)
    }

    /// Puts what an old hash or set has become, which keeps its end.
    fn put_back(&mut self, key: Bytes, value: Value) {
        let end = self.end(key);
        self.put_value(key, value, end);
    }

    fn set_fields(&mut self, key: Bytes, pairs: &[(Bytes, &[u8])]) -> Frame {
        let mut all = self.fields(key);
        let before = all.len();
        for (field, value) in pairs {
            match all.iter_mut().find(|(other, _)| other == field) {
                Some((_, old)) => *old = value.to_vec(),
                None => all.push((field.to_vec(), value.to_vec())),
            }
        }
        let added = all.len() - before;
        self.put_back(key, Value::Hash(all));
        count(added)
    }

    fn incr_field(&mut self, key: Bytes, field: Bytes, by: i64) -> Frame {
        let all = self.fields(key);
        let old = all.iter().find(|(other, _)| other == field).map_or(Some(0), |(_, value)| number(value));
        let Some(old) = old else { return error("ERR hash value is not an integer") };
        let Some(sum) = old.checked_add(by) else {
            return error("ERR increment or decrement would overflow");
        };
        self.set_fields(key, &[(field, sum.to_string().as_bytes())]);
        int(sum)
    }

    fn expire(&mut self, key: Bytes, end: i64, rule: Option<Rule>) -> Frame {
        let Some((value, before)) = self.life(key).cloned() else { return int(0) };
        let allowed = match (rule, before) {
            (None, _) | (Some(Rule::Nx), None) | (Some(Rule::Xx), Some(_)) | (Some(Rule::Lt), None) => true,
            (Some(Rule::Nx), Some(_)) | (Some(Rule::Xx | Rule::Gt), None) => false,
            (Some(Rule::Gt), Some(before)) => end > before,
            (Some(Rule::Lt), Some(before)) => end < before,
        };
        if allowed {
            self.put_value(key, value, Some(end));
        }
        count(usize::from(allowed))
    }

    fn left(&self, key: Bytes, unit: Unit) -> Frame {
        let Some((_, end)) = self.life(key) else { return int(-2) };
        int(end.map_or(-1, |end| match unit {
            // Redis rounds to the nearest second.
            Unit::Seconds => (end - self.now_ms + 500) / 1000,
            Unit::Millis => end - self.now_ms,
            Unit::SecondsAt => (end + 500) / 1000,
            Unit::MillisAt => end,
        }))
    }

    fn rename(&mut self, from: Bytes, to: Bytes, only_new: bool) -> Frame {
        let Some((value, end)) = self.life(from).cloned() else { return error("ERR no such key") };
        let writes = from != to && (!only_new || self.life(to).is_none());
        if writes {
            self.remove(from);
            self.put_value(to, value, end);
        }
        if only_new { count(usize::from(writes)) } else { ok() }
    }
}
