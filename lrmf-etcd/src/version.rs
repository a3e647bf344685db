//! The faults of etcd's leases that a version still has.

/// What a version of etcd may do to exclusivity. Empty for those without known faults.
pub(crate) fn lease_faults(version: &str) -> Vec<&'static str> {
    let Some(version) = parse(version) else { return vec!["its version cannot be read"] };
    let mut faults = Vec::new();
    if !((3, 4, 0)..(3, 7, 0)).contains(&version) {
        faults.push("it is not one of the versions that this was made for, 3.4 to 3.6");
    }
    if is_before(version, &[(3, 4, 31), (3, 5, 13)]) {
        faults.push("a leader that stalls may end leases early (fixed in 3.4.31 and 3.5.13)");
    }
    if is_before(version, &[(3, 4, 38), (3, 5, 23), (3, 6, 5)]) {
        faults.push("a lease that was revoked may be renewed (fixed in 3.4.38, 3.5.23 and 3.6.5)");
    }
    faults
}

type Version = (u32, u32, u32);

fn parse(version: &str) -> Option<Version> {
    // A release candidate counts as the version before.
    let (number, candidate) = version.split_once('-').map_or((version, false), |(number, _)| (number, true));
    let mut parts = number.split('.').map(|part| part.parse::<u32>());
    let (major, minor, patch) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    Some((major, minor, patch.saturating_sub(u32::from(candidate))))
}

/// Returns true where a version lacks a fix that came with these, one for each line; later lines have it from the start.
fn is_before(version: Version, fixed: &[Version]) -> bool {
    let of_line = fixed.iter().find(|fix| (fix.0, fix.1) == (version.0, version.1));
    match of_line {
        Some(fix) => version < *fix,
        None => fixed.iter().all(|fix| version < *fix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_known_by_version() {
        for (version, faults) in [
            ("3.4.23", 2),
            ("3.4.31", 1),
            ("3.4.38", 0),
            ("3.5.0-rc.1", 2),
            ("3.5.12", 2),
            ("3.5.13", 1),
            ("3.5.23", 0),
            ("3.6.0", 1),
            ("3.6.5", 0),
            ("3.3.27", 3),
            ("3.7.0", 1),
            ("main", 1),
        ] {
            assert_eq!(lease_faults(version).len(), faults, "{version}: {:?}", lease_faults(version));
        }
    }
}
