//! A service with all roles and the dashboard on private servers, for tests in a browser: it says the addresses of the database and of etcd and
//! then its own on standard output, and ends with its standard input.

use std::io::Read;

use integration_tests::stage::Site;
use test_servers::servers::free_port;

fn main() -> anyhow::Result<()> {
    let Some(mut site) = Site::to_harm() else {
        anyhow::bail!("there are no programs for private servers: etcd, MariaDB and Redis");
    };
    let address = format!("127.0.0.1:{}", free_port()?);
    site.set("DTF_API_LISTEN", address.clone());
    // Receivers of hooks are on this machine.
    site.set("DTF_WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8");
    let _all = site.serve("one", "all");
    println!("database: {}\netcd: {}", site.database(), site.etcd.url());
    println!("http://{address}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
