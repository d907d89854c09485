//! Date.
/// The value of Date, renewed at most once a second.
#[derive(Clone, Debug)]
pub struct Date {
    unix_seconds: u64,
    text: [u8; 29],
}
impl Date {
    /// The date of this second.
    pub fn new(unix_seconds: u64) -> Date {
        Date { unix_seconds, text: [b' '; 29] }
    }
    /// Renews it if the second is another one.
    pub fn renew(&mut self, unix_seconds: u64) {
        self.unix_seconds = unix_seconds;
    }
    /// `Sun, 06 Nov 1994 08:49:37 GMT`
    pub fn as_bytes(&self) -> &[u8; 29] {
        &self.text
    }
}
