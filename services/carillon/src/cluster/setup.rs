//! How a node comes to be of a cluster: it makes one, or joins one with a token.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kv::{RangeRead, Reads};
use mesh::join::{self, Token, Wanted};
use mesh::{Authority, ClusterId, Credentials, Identity, NodeKey, NodeName, Role};
use peer::codec;
use peer::control::{Fingerprint, Join};
use peer::node::{Features, Versions};
use peer::shard::HashKey;
use session::rows::Fence;
use store::{Embedded, Options};
use tokio::net::lookup_host;

use super::folder::{self, Folder, Founding, Place};
use crate::config::Config;
use crate::exit::Failure;
use crate::home::Home;
use crate::limits::{JOIN_TIME, MESH_PORT, TOKEN_TIME};
use crate::metrics::VERSION;
use crate::secrets::{Secrets, hex, random};

/// The time since the Unix epoch.
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Random bytes of this many.
fn draw<const N: usize>() -> Result<[u8; N], Failure> {
    let bytes = random(N).map_err(Failure::new)?;
    bytes.try_into().map_err(|_| Failure::new("the system gives too few random bytes"))
}

/// The name of this node.
///
/// # Errors
/// A sentence: the machine has no name that would do.
pub(crate) fn name(config: &Config) -> Result<NodeName, Failure> {
    let name = match config.cluster.name.is_empty() {
        false => config.cluster.name.clone(),
        true => rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase(),
    };
    NodeName::parse(&name).ok_or_else(|| {
        Failure::configuration(format!(
            "{name:?} is not a name for a node: set `cluster.name`, in lower-case letters, digits, \
             dots and hyphens"
        ))
    })
}

/// A new token for this authority, as a line and as what the cluster keeps of it.
pub(crate) fn token(authority: &[u8]) -> Result<(String, [u8; 32]), Failure> {
    let token = Token::new(draw()?, authority);
    Ok((token.to_line(), token.hash().0))
}

/// Makes a cluster whose first node this is: the node itself starts with `serve`. Returns the line
/// of the first token, and its cluster's id.
///
/// # Errors
/// A sentence: the folder is of a cluster already, or cannot be used.
pub(crate) async fn init(config: &Config) -> Result<(ClusterId, String), Failure> {
    if !config.cluster.roles.has(Role::Control) {
        let text = "the first node of a cluster has the role \"control\" (`cluster.roles`)";
        return Err(Failure::configuration(text.to_owned()));
    }
    let home = Home::open(&config.data).map_err(Failure::new)?;
    if Folder::exists(home.root()) {
        let root = home.root().display();
        return Err(Failure::new(format!("{root} is the data of a cluster's node already")));
    }
    Secrets::open(&home.secrets()).map_err(Failure::new)?;
    let (hash, epochs_above) = of_store(config, &home).await?;
    let (cluster, now) = (ClusterId(u128::from_be_bytes(draw()?)), now());
    let crypto = |why| Failure::new(format!("no certificate could be made: {why}"));
    let authority = Authority::create(cluster, now).map_err(crypto)?;
    let key = NodeKey::create().map_err(crypto)?;
    let identity = Identity { cluster, node: name(config)?, roles: config.cluster.roles };
    let request = key.request().map_err(crypto)?;
    let certificate = authority.issue(&request, &identity, now).map_err(crypto)?;
    let credentials = Credentials::new(authority.certificate(), &certificate, &key.to_der());
    let credentials = credentials.map_err(crypto)?;
    let (line, hash_of_token) = token(authority.certificate())?;
    let mut folder =
        Folder::new(home.root(), &credentials, Some(&authority.key()), Some(1), Vec::new());
    folder.founding = Some(Founding {
        hash: (hash.0, hash.1),
        epochs_above,
        own_token: hex(&draw::<32>()?),
        token: hex(&hash_of_token),
        expires_us: micros(now + TOKEN_TIME),
    });
    folder.write().map_err(Failure::new)?;
    Ok((cluster, line))
}

/// The key of the cluster's hashes and the highest epoch of its shards: those of the store, if this
/// node brings one. Accounts are placed by that key, and owners of before have those epochs: a
/// control plane that is made anew over a store goes on above them.
async fn of_store(config: &Config, home: &Home) -> Result<(HashKey, u64), Failure> {
    if !config.cluster.roles.has(Role::Store) {
        let both = u128::from_be_bytes(draw()?);
        return Ok((HashKey((both >> 64) as u64, both as u64), 0));
    }
    let opened = Embedded::open(home.store(), &Options::default());
    let store = Arc::new(opened.map_err(|why| Failure::new(why.to_string()))?);
    let found = read(&(store.clone() as Arc<dyn kv::Store>)).await;
    store.close();
    found
}

async fn read(store: &Arc<dyn kv::Store>) -> Result<(HashKey, u64), Failure> {
    let failed = |why: String| Failure::new(format!("the store: {why}"));
    let identity = router::identity(store, None).await.map_err(|why| failed(why.to_string()))?;
    let (mut start, end) = session::keys::epochs();
    let mut highest = 0;
    loop {
        let reads = Reads::range(RangeRead::new(start, end.clone()));
        let rows = store.read(reads).await.map_err(|why| failed(why.to_string()))?;
        for row in rows.rows(0) {
            let fence = Fence::decode(&row.value);
            let fence = fence.map_err(|_| failed("a fence cannot be read".to_owned()))?;
            highest = fence.epoch.0.max(highest);
        }
        match rows.found.into_iter().next().and_then(|found| found.more) {
            Some(more) => start = more,
            None => return Ok((identity.hash, highest)),
        }
    }
}

/// `TOKEN@HOST` or `TOKEN@HOST:PORT`.
fn split(text: &str) -> Result<(Token, String), Failure> {
    let usage = |why: &str| Failure::new(format!("{why}: what is expected is TOKEN@HOST:PORT"));
    let (token, host) = text.split_once('@').ok_or_else(|| usage("there is no @ in it"))?;
    let token = Token::parse(token).map_err(|why| usage(&why.to_string()))?;
    let has_port = host.rsplit_once(':').is_some_and(|(before, port)| {
        port.parse::<u16>().is_ok() && (!before.contains(':') || before.ends_with(']'))
    });
    let host = if has_port { host.to_owned() } else { format!("{host}:{MESH_PORT}") };
    Ok((token, host))
}

/// Joins a cluster: afterwards the data folder is that of one of its nodes.
///
/// # Errors
/// A sentence that says what to do: nobody answers, the token is used, the name is taken.
pub(crate) async fn join(config: &Config, root: &Path, text: &str) -> Result<Folder, Failure> {
    let (token, host) = split(text)?;
    let addresses: Vec<SocketAddr> = lookup_host(&host)
        .await
        .map_err(|why| Failure::new(format!("{host} has no address: {why}")))?
        .collect();
    let key = folder::joining_key(root).map_err(Failure::new)?;
    let address = advertised(config, config.cluster.listen);
    let said = about(config, &name(config)?, &address, [0; 32], ClusterId(0));
    let wanted = Wanted {
        node: name(config)?,
        roles: config.cluster.roles,
        about: mesh::plane::about(said),
    };
    let mut failed = Failure::new(format!("{host} has no address"));
    for address in addresses {
        let asked = join::join(address, &token, &wanted, &key, now());
        match tokio::time::timeout(JOIN_TIME, asked).await {
            Ok(Ok(joined)) => return keep(root, joined),
            Ok(Err(why)) => failed = Failure::new(format!("{host}: {why}")),
            Err(_) => failed = Failure::new(format!("{host}: there was no answer in time")),
        }
    }
    Err(failed)
}

fn keep(root: &Path, joined: join::Joined) -> Result<Folder, Failure> {
    let control: Vec<Place> = joined.control.into_iter().map(Place::from).collect();
    let key = joined.authority_key.as_deref();
    let folder = Folder::new(root, &joined.credentials, key, joined.replica, control);
    folder.write().map_err(Failure::new)?;
    Ok(folder)
}

/// Where other nodes find this one, which listens at `listen`.
pub(crate) fn advertised(config: &Config, listen: SocketAddr) -> String {
    let given = &config.cluster.advertise;
    if given.is_empty() { listen.to_string() } else { given.clone() }
}

/// What a node says of itself when it starts.
pub(crate) fn about(
    config: &Config,
    name: &NodeName,
    address: &str,
    fingerprint: [u8; 32],
    cluster: ClusterId,
) -> Join {
    Join {
        cluster: cluster.to_peer(),
        name: name.as_str().into(),
        roles: config.cluster.roles.to_peer(),
        address: address.into(),
        zone: config.cluster.zone.as_str().into(),
        versions: Versions { min: codec::VERSION_MIN, max: codec::VERSION },
        features: Features::OURS,
        program: VERSION.into(),
        fingerprint: Fingerprint(fingerprint),
        clock_us: micros(now()),
        token: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Or nobody could own what was owned before: stored fences would be above those of new owners.
    #[tokio::test]
    async fn a_cluster_over_a_used_store_begins_above_its_epochs() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config { data: folder.path().join("data"), ..Config::default() };
        config.cluster.name = "s1".to_owned();
        config.cluster.roles = mesh::Roles::of(&[Role::Store, Role::Control]);
        let home = Home::open(&config.data).unwrap();
        Secrets::open(&home.secrets()).unwrap();
        let store = Embedded::open(home.store(), &Options::default()).unwrap();
        let mut batch = kv::Batch::new(1);
        for (shard, epoch) in [(7, 41), (4095, 3)] {
            let fence = Fence { epoch: peer::Epoch(epoch) };
            batch.set(session::keys::epoch(peer::ShardId(shard)), fence.encode());
        }
        kv::Store::commit(&store, batch).await.unwrap();
        store.close();
        init(&config).await.unwrap();
        let founding = Folder::open(home.root()).unwrap().unwrap().founding.unwrap();
        assert_eq!(founding.epochs_above, 41);
    }

    #[test]
    fn a_join_names_token_and_host() {
        let (line, _) = token(b"authority").unwrap();
        for (host, address) in [
            ("r1.example", "r1.example:5270"),
            ("r1.example:7", "r1.example:7"),
            ("192.0.2.1", "192.0.2.1:5270"),
            ("[2001:db8::1]", "[2001:db8::1]:5270"),
            ("[2001:db8::1]:7", "[2001:db8::1]:7"),
        ] {
            assert_eq!(split(&format!("{line}@{host}")).unwrap().1, address);
        }
        for wrong in [line.as_str(), "@r1", "nonsense@r1"] {
            assert!(split(wrong).unwrap_err().text.contains("TOKEN@HOST:PORT"), "{wrong}");
        }
    }
}
