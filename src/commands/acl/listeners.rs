//! Who listens to what it may not any more: as in Redis, such a connection ends at once, rather than going on to hear what its
//! user was just forbidden.

use std::collections::{BTreeSet, HashMap};

use super::permission::allows_channel;
use crate::app::pubsub::Listening;
use crate::app::{App, Client, User};

/// Ends the connections whose users may not listen any more to what they listen to; one's own after the reply.
pub(super) fn expel(app: &App, client: &mut Client) {
    // Not even where nobody seems to listen: the lock of the audiences, and no mere number, decides who was first (`recheck`).
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
        if !may_listen(user, kind, name) {
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

/// Ends a client that has just begun to listen, if its user lost the right to between the gate and now: whoever took it was too
/// early to find the client among those who listen. The one who comes second to the audiences sees the other.
pub(in crate::commands) fn recheck(app: &App, client: &mut Client) {
    if !client.follow(&app.users) {
        return;
    }
    let user = std::sync::Arc::clone(client.login.user());
    let allows = |kind, name: &[u8]| may_listen(&user, kind, name);
    if client.close_after_reply || !client.listens_only_to(allows) {
        client.leave_all();
        client.close_after_reply = true;
    }
}

fn may_listen(user: &User, kind: Listening, name: &[u8]) -> bool {
    user.all_selectors().any(|selector| allows_channel(selector, kind == Listening::Pattern, name))
}
