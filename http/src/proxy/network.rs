//! Networks: addresses that begin with the same bits. Next: `proxy::field`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A text that is no network: neither an address nor `address/bits`.
///
/// # Examples
/// ```
/// use squall_http::proxy::{Family, TrustedProxies};
///
/// let error = TrustedProxies::new(["10.0.0.1/8"], Family::XRealIp).unwrap_err();
/// println!("{error}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkError(String);

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Network {
    base: IpAddr,
    bits: u32,
}

impl Network {
    /// Whether the address, in its canonical form, lies in it.
    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        match (self.base, ip) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => {
                (base.to_bits() ^ ip.to_bits()).leading_zeros() >= self.bits
            }
            (IpAddr::V6(base), IpAddr::V6(ip)) => {
                (base.to_bits() ^ ip.to_bits()).leading_zeros() >= self.bits
            }
            _ => false,
        }
    }

    /// Whether no bit is set behind the prefix, which is no longer than the address.
    fn is_valid(&self) -> bool {
        let (trailing, width) = match self.base {
            IpAddr::V4(base) => (base.to_bits().trailing_zeros(), Ipv4Addr::BITS),
            IpAddr::V6(base) => (base.to_bits().trailing_zeros(), Ipv6Addr::BITS),
        };
        self.bits <= width && trailing >= width - self.bits
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(text.to_owned());
        let (base, bits) = match text.split_once('/') {
            Some((base, bits)) => (base, bits.parse().map_err(|_| wrong())?),
            None => (text, if text.contains(':') { Ipv6Addr::BITS } else { Ipv4Addr::BITS }),
        };
        let network = Network { base: base.parse().map_err(|_| wrong())?, bits };
        // An IPv4 address in IPv6's clothes is compared as IPv4, so no network of those would match.
        let comparable = network.base == network.base.to_canonical();
        if network.is_valid() && comparable { Ok(network) } else { Err(wrong()) }
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no network: write an address, or address/bits with no bit behind",
            self.0
        )
    }
}

impl std::error::Error for NetworkError {}
