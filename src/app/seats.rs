//! Who may connect: `maxclients` and `maxclients-per-address`, counted from the moment a connection is accepted, so that no
//! burst gets past them. A seat must never outlive its connection, nor a connection its seat.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// All seats.
#[derive(Debug, Default)]
pub struct Seats(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Why there is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// All are taken (`maxclients`).
    Everywhere,
    /// The address has all that it may have (`maxclients-per-address`).
    ForAddress,
}

/// One connection's seat, free again when it is dropped.
#[derive(Debug)]
pub struct Seat {
    taken: Arc<Mutex<Taken>>,
    address: IpAddr,
}

impl Seats {
    /// A seat for a connection from this address, of so many in all and so many for each address.
    ///
    /// # Errors
    /// When all of them are taken.
    pub fn take(&self, address: IpAddr, seats_max: usize, address_max: Option<usize>) -> Result<Seat, Full> {
        // An IPv4 address may come mapped into IPv6.
        let address = address.to_canonical();
        let mut taken = self.0.lock();
        if taken.all >= seats_max {
            return Err(Full::Everywhere);
        }
        let of_address = taken.by_address.entry(address).or_default();
        if address_max.is_some_and(|most| *of_address >= most) {
            return Err(Full::ForAddress);
        }
        *of_address += 1;
        taken.all += 1;
        Ok(Seat { taken: Arc::clone(&self.0), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        taken.all -= 1;
        if let Entry::Occupied(mut of_address) = taken.by_address.entry(self.address) {
            *of_address.get_mut() -= 1;
            if *of_address.get() == 0 {
                of_address.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_counted_in_all_and_by_address_and_are_free_again() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let (seats, one, other) = (Seats::default(), address("192.0.2.1"), address("192.0.2.2"));
        let first = seats.take(one, 3, Some(2)).unwrap();
        let second = seats.take(address("::ffff:192.0.2.1"), 3, Some(2)).unwrap();
        assert_eq!(seats.take(one, 3, Some(2)).unwrap_err(), Full::ForAddress);
        let third = seats.take(other, 3, Some(2)).unwrap();
        assert_eq!(seats.take(other, 3, None).unwrap_err(), Full::Everywhere);
        drop(first);
        let fourth = seats.take(one, 3, Some(2)).unwrap();
        drop((second, third, fourth));
        let taken = seats.0.lock();
        assert_eq!((taken.all, taken.by_address.len()), (0, 0));
    }
}
