//! Which addresses requests may go to.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;

use ipnet::IpNet;

/// The networks that are not part of the public internet: IANA's registries of special-purpose addresses (RFC 6890 and its updates),
/// and multicast. Addresses of IPv6 that stand for one of IPv4 are judged by that one.
const SPECIAL: [&str; 25] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/127",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
];

static NETWORKS: LazyLock<Vec<IpNet>> =
    LazyLock::new(|| SPECIAL.iter().filter_map(|network| network.parse().ok()).collect());

/// The rule on addresses: all of the public internet, and of other networks those that are allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressRule {
    allowed: Vec<IpNet>,
}

impl AddressRule {
    /// The public internet alone.
    pub const PUBLIC: Self = Self { allowed: Vec::new() };

    /// The public internet and these networks.
    pub fn allowing(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// Every address.
    pub fn all() -> Self {
        Self::allowing(["0.0.0.0/0", "::/0"].iter().filter_map(|all| all.parse().ok()).collect())
    }

    /// Returns true if requests may go to an address.
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = embedded(address);
        let is_in = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        is_in(&self.allowed) || !is_in(&NETWORKS)
    }
}

/// The address of IPv4 that one of IPv6 stands for (mapped, compatible, NAT64, 6to4), or the address itself.
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let four = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::from([a, b, c, d])
    };
    match v6.segments() {
        _ if v6 == Ipv6Addr::LOCALHOST || v6.is_unspecified() => address,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => four(high, low),
        [0x2002, high, low, ..] => four(high, low),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_of_the_list_is_read() {
        assert_eq!(NETWORKS.len(), SPECIAL.len());
    }

    #[test]
    fn private_addresses_are_refused_however_they_are_written() {
        let rule = AddressRule::PUBLIC;
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "100.64.0.1",
            "169.254.169.254",
            "172.31.255.255",
            "192.168.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "::1",
            "::",
            "fd00::1",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
        ] {
            assert!(!rule.permits(private.parse().unwrap()), "{private}");
        }
        for public in ["1.1.1.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"] {
            assert!(rule.permits(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn what_is_allowed_is_permitted_and_nothing_beside_it() {
        let rule = AddressRule::allowing(vec!["10.1.0.0/16".parse().unwrap()]);
        assert!(rule.permits("10.1.2.3".parse().unwrap()));
        assert!(rule.permits("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!rule.permits("10.2.0.1".parse().unwrap()));
        assert!(AddressRule::all().permits("127.0.0.1".parse().unwrap()));
        assert!(AddressRule::all().permits("::1".parse().unwrap()));
    }
}
