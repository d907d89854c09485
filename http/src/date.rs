//! The Date field, formatted at most once a second.
//!
//! The one idea: who writes a response says what second it is, and only a new second costs the
//! formatting; so there is no timer that would wake an idle loop (law 8), and no clock here.
//! Absent: reading of dates, and the two obsolete formats. Next: `encode`.

use std::fmt;

/// A cached `Date` line.
///
/// `IMF-fixdate = day-name "," SP day SP month SP year SP time-of-day SP GMT` (RFC 9110, 5.6.7)
///
/// # Examples
/// ```
/// use squall_http::date::Date;
///
/// let mut date = Date::new(784_111_777);
/// assert_eq!(date.as_bytes(), b"Sun, 06 Nov 1994 08:49:37 GMT");
/// date.renew(784_111_778);
/// assert_eq!(date.to_string(), "Sun, 06 Nov 1994 08:49:38 GMT");
/// ```
#[derive(Clone)]
pub struct Date {
    unix_seconds: u64,
    line: [u8; LINE.len()],
}

impl Date {
    /// The date of a second since 1970. What is after the year 9999 has no such date and is shown
    /// as its last second.
    pub fn new(unix_seconds: u64) -> Date {
        let mut date = Date { unix_seconds, line: *LINE };
        date.format();
        date
    }

    /// Formats it again if the second is another one.
    #[inline]
    pub fn renew(&mut self, unix_seconds: u64) {
        if unix_seconds != self.unix_seconds {
            self.unix_seconds = unix_seconds;
            self.format();
        }
    }

    /// The field's value.
    pub fn as_bytes(&self) -> &[u8] {
        &self.line[VALUE_AT..LINE.len() - 2]
    }

    /// The whole line with its CRLF.
    #[inline]
    pub(crate) fn line(&self) -> &[u8; LINE.len()] {
        &self.line
    }

    fn format(&mut self) {
        let seconds = self.unix_seconds.min(LAST_SECOND);
        let (days, of_day) = (seconds / 86_400, (seconds % 86_400) as usize);
        let (year, month, day) = civil(days);
        let weekday = (days + 4) as usize % 7; // 1970 began on a Thursday
        let value = &mut self.line[VALUE_AT..];
        value[..3].copy_from_slice(&b"SunMonTueWedThuFriSat"[3 * weekday..][..3]);
        two_digits(&mut value[5..], day);
        value[8..11]
            .copy_from_slice(&b"JanFebMarAprMayJunJulAugSepOctNovDec"[3 * (month - 1)..][..3]);
        two_digits(&mut value[12..], year / 100);
        two_digits(&mut value[14..], year % 100);
        two_digits(&mut value[17..], of_day / 3600);
        two_digits(&mut value[20..], of_day / 60 % 60);
        two_digits(&mut value[23..], of_day % 60);
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().escape_ascii().fmt(f)
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Date({self})")
    }
}

const LINE: &[u8; 37] = b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
const VALUE_AT: usize = b"Date: ".len();

/// 9999-12-31 23:59:59: four digits hold no later year.
const LAST_SECOND: u64 = 253_402_300_799;

/// Year, month and day of a day since 1970, by the proleptic Gregorian calendar. Years are counted
/// from March, so that the leap day is the last of one, in eras of 400 years from 0000-03-01.
fn civil(days: u64) -> (usize, usize, usize) {
    let days = days as usize + 719_468; // from 0000-03-01 to 1970-01-01
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153; // months of 31, 30, 31, 30, 31 days, again and again
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + usize::from(month <= 2), month, day)
}

fn two_digits(to: &mut [u8], number: usize) {
    to[0] = b'0' + (number / 10 % 10) as u8;
    to[1] = b'0' + (number % 10) as u8;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(unix_seconds: u64) -> String {
        Date::new(unix_seconds).to_string()
    }

    // Caches and cookies are dated by it; a wrong weekday makes strict readers drop the field.
    #[test]
    fn rfc9110_5_6_7_known_seconds_have_their_dates() {
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"), // the RFC's own
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"), // a century with a leap day
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (2_147_483_648, "Tue, 19 Jan 2038 03:14:08 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"), // a century without
            (LAST_SECOND, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(text(seconds), expected);
        }
    }

    // The twin counts days one by one.
    #[test]
    fn every_day_of_five_centuries_is_the_one_after_the_day_before() {
        let leap = |year| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..500 * 365 {
            assert_eq!(civil(days), (year, month, day), "day {days}");
            let length = match month {
                4 | 6 | 9 | 11 => 30,
                2 => 28 + usize::from(leap(year)),
                _ => 31,
            };
            day += 1;
            if day > length {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
    }

    #[test]
    fn rfc9110_6_6_1_a_renewed_date_is_the_new_second_and_an_old_one_stays() {
        let mut date = Date::new(59);
        date.renew(59);
        assert_eq!(date.to_string(), text(59));
        date.renew(60);
        assert_eq!(date.line(), b"Date: Thu, 01 Jan 1970 00:01:00 GMT\r\n");
        date.renew(59); // a clock may be set back
        assert_eq!(date.to_string(), text(59));
    }
}
