//! Who listens to what it may not any more: as in Redis, such a connection ends at once, rather than going on to hear what its
//! user was just forbidden.

use std::collections::{BTreeSet, HashMap};

use super::permission::allows_channel;
use crate::app::pubsub::Listening;
use crate::app::{App, Client};

/// Ends the connections whose users may not listen any more to what they listen to; one's own after the reply.
pub(super) fn expel(app: &App, client: &mut Client) {
    if app.pubsub.is_silent() {
        return;
    }
    let mut listeners = HashMap::new();
    for info in app.clients.list().into_iter().filter(|info| info.listens()) {
        let name = info.shown.lock().user.as_ref().map(|registered| registered.user.name.clone());
        // Whose user is gone is ended by whoever took it away.
        let user = name.and_then(|name| app.users.get(&name)).filter(|user| info.acts_as(user.incarnation));
        listeners.extend(user.map(|user| (info.id, (info, user.user))));
    }
    let mut expelled = BTreeSet::new();
    app.pubsub.visit(|kind, name, client_id| {
        let Some((_, user)) = listeners.get(&client_id) else { return };
        if !user.all_selectors().any(|selector| allows_channel(selector, kind == Listening::Pattern, name)) {
            expelled.insert(client_id);
        }
    });
    for client_id in expelled {
        if client_id == client.info.id {
            client.close_after_reply = true;
        } else if let Some((info, _)) = listeners.get(&client_id) {
            info.expel();
        }
    }
}
