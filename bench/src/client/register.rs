//! Accounts that clients make themselves (XEP-0077).

use super::Shared;
use super::login::connect;
use super::socket::shown;
use crate::{Failure, frames};

/// Registers an account, where it is not there yet.
///
/// # Errors
/// What the server refused, or a socket that failed.
pub async fn register(shared: &Shared, user: usize) -> Result<(), Failure> {
    let (mut conn, _) = connect(shared, user).await?;
    let (name, password) = (shared.target.name(user), &shared.target.password);
    let set = format!(
        "<iq type='set' id='reg' to='{}'><query xmlns='jabber:iq:register'><username>{name}\
         </username><password>{password}</password></query></iq>",
        shared.target.domain
    );
    conn.say(set.as_bytes()).await?;
    let answer = conn.wait(|frame| frames::is(frame, "iq")).await?;
    let made = frames::attribute(&answer, "type") == Some(b"result");
    if made || frames::has(&answer, "conflict") {
        // A server that ends the stream first has done what was asked of it.
        let _ = conn.close().await;
        return Ok(());
    }
    Err(shown(&format!("{name} may not register"), &answer))
}
