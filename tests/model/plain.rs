//! The plain model: two maps of keys to values and absolute ends, and what Redis 7.0 says each command does to them. It
//! shares no code with the server.

use std::collections::BTreeMap;

use super::call::{Bytes, Call, End, Only, Rule, Unit};
use super::support::resp::Frame;

/// A key's value, and its end in Unix milliseconds.
pub type Life = (Vec<u8>, Option<i64>);

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

    fn value(&self, key: Bytes) -> Option<Vec<u8>> {
        self.life(key).map(|(value, _)| value.clone())
    }

    fn end(&self, key: Bytes) -> Option<i64> {
        self.life(key).and_then(|(_, end)| *end)
    }

    /// A key with an end that has passed is not there.
    fn put(&mut self, key: Bytes, value: Vec<u8>, end: Option<i64>) {
        if end.is_some_and(|end| end <= self.now_ms) {
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
        match call {
            Call::Get(key) => bulk(self.value(key)),
            Call::GetDel(key) => bulk(self.remove(key).map(|(value, _)| value)),
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
        let Some((value, before)) = self.life(key).cloned() else { return bulk(None) };
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
        let (old, old_end) = before.unzip();
        if writes {
            let end = match end {
                End::Unsaid => None,
                End::Word => old_end.flatten(),
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
        let (mut value, end) = self.life(key).cloned().unwrap_or_default();
        value.extend_from_slice(piece);
        let length = value.len();
        self.put(key, value, end);
        count(length)
    }

    fn set_range(&mut self, key: Bytes, at: usize, piece: Bytes) -> Frame {
        let (mut value, end) = self.life(key).cloned().unwrap_or_default();
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
        let (value, end) = self.life(key).cloned().unwrap_or((b"0".to_vec(), None));
        // Redis reads a number only as it would write it.
        let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse::<i64>().ok());
        let Some(number) = number.filter(|number| number.to_string().as_bytes() == value) else {
            return error("ERR value is not an integer or out of range");
        };
        let Some(sum) = number.checked_add(by) else {
            return error("ERR increment or decrement would overflow");
        };
        self.put(key, sum.to_string().into_bytes(), end);
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
            self.put(key, value, Some(end));
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
            self.put(to, value, end);
        }
        if only_new { count(usize::from(writes)) } else { ok() }
    }
}
