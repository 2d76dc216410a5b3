//! What cannot be unpacked, which takes a fault of memory or of ours: it becomes cold, and the database has it as it is.

use tracing::error;

use super::Keyspace;
use super::packed::Kept;
use super::slot::{Held, Slot};

impl Keyspace {
    /// Makes a value cold that cannot be unpacked.
    pub(super) fn drop_damaged(&self, slot: &mut Slot) {
        let Some(Held::Packed(dictionary, packed)) = slot.life().and_then(|life| life.value) else { return };
        if self.packing.unpack(dictionary, packed, |_| ()).is_some() {
            return;
        }
        error!("a value in memory could not be decompressed and is read from the database anew; is the memory sound?");
        slot.change(|_, entry| {
            let committed = entry.pending.as_mut().and_then(|pending| pending.committed.as_mut());
            let lives = [committed, entry.life.as_mut()].into_iter().flatten();
            lives.filter(|life| matches!(life.value, Some(Kept::Packed(..)))).for_each(|life| life.value = None);
        });
    }
}
