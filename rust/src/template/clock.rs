//! Owns: the local time of a render, and its text by strftime (C standard, 7.27.3.5, in the C locale, with glibc's
//! flags). Does not know: the machine's clock or time zone.

use super::limits::{fault, Res};

#[derive(Clone, Copy)]
pub struct Civil {
    year: i64,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    micro: u32,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn month_days(year: i64, month: u32) -> u32 {
    match month {
        2 => 28 + u32::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl Civil {
    /// `YYYY-MM-DD[THH:MM[:SS[.ffffff]]]`
    pub fn parse(text: &str) -> Option<Civil> {
        let (date, time) = match text.split_once(['T', ' ']) {
            Some((date, time)) => (date, time),
            None => (text, "00:00:00"),
        };
        let number = |part: Option<&str>, digits: usize| {
            let part = part?;
            let plain = part.len() == digits && part.bytes().all(|b| b.is_ascii_digit());
            if plain {
                part.parse::<u32>().ok()
            } else {
                None
            }
        };
        let mut date = date.split('-');
        let year = number(date.next(), 4)? as i64;
        let month = number(date.next(), 2)?;
        let day = number(date.next(), 2)?;
        let mut time = time.split(':');
        let hour = number(time.next(), 2)?;
        let minute = number(time.next(), 2)?;
        let (second, micro) = match time.next() {
            None => (0, 0),
            Some(seconds) => match seconds.split_once('.') {
                None => (number(Some(seconds), 2)?, 0),
                Some((seconds, fraction)) => {
                    (number(Some(seconds), 2)?, number(Some(fraction), 6)?)
                }
            },
        };
        let in_range = year > 0
            && (1..=12).contains(&month)
            && (1..=month_days(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        let complete = date.next().is_none() && time.next().is_none();
        (in_range && complete).then_some(Civil { year, month, day, hour, minute, second, micro })
    }

    /// 0-based
    fn day_of_year(&self) -> u32 {
        (1..self.month).map(|month| month_days(self.year, month)).sum::<u32>() + self.day - 1
    }

    /// 0 is Sunday.
    fn weekday(&self) -> u32 {
        let years = self.year - 1;
        let days = years * 365 + years / 4 - years / 100 + years / 400;
        ((days + i64::from(self.day_of_year()) + 1) % 7) as u32
    }

    /// ISO 8601 year and week.
    fn iso_week(&self) -> (i64, u32) {
        let monday_based = (self.weekday() + 6) % 7;
        let week = (self.day_of_year() + 10 - monday_based - 1) / 7 + 1;
        let weeks_in = |year: i64| {
            let first = Civil { year, month: 1, day: 1, ..*self }.weekday();
            52 + u32::from(first == 4 || (first == 3 && is_leap(year)))
        };
        let week = week - 1;
        if week == 0 {
            (self.year - 1, weeks_in(self.year - 1))
        } else if week > weeks_in(self.year) {
            (self.year + 1, 1)
        } else {
            (self.year, week)
        }
    }

    pub fn format(&self, format: &str) -> Res<String> {
        let mut out = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let mut letter = chars.next();
            let mut flag = None;
            if let Some('-' | '_' | '0' | '^' | '#') = letter {
                flag = letter;
                letter = chars.next();
            }
            let Some(letter) = letter else {
                out.push('%');
                out.extend(flag);
                return Ok(out);
            };
            let Some(text) = self.field(letter, flag)? else {
                out.push('%');
                out.extend(flag);
                out.push(letter);
                continue;
            };
            match flag {
                Some('^' | '#') => out.push_str(&text.to_uppercase()),
                _ => out.push_str(&text),
            }
        }
        Ok(out)
    }

    fn field(&self, letter: char, flag: Option<char>) -> Res<Option<String>> {
        let hour12 = (self.hour + 11) % 12 + 1;
        let weekday = self.weekday();
        let padded = |value: i64, width: usize, fill: char| match (flag, fill) {
            (Some('-'), _) => value.to_string(),
            (Some('_'), _) | (None | Some('^' | '#'), ' ') => format!("{value:>width$}"),
            _ => format!("{value:0>width$}"),
        };
        let two = |value: u32| padded(value as i64, 2, '0');
        let half = if self.hour < 12 { "AM" } else { "PM" };
        Ok(Some(match letter {
            'Y' => padded(self.year, 1, '0'),
            'C' => two((self.year / 100) as u32),
            'y' => two((self.year % 100) as u32),
            'm' => two(self.month),
            'd' => two(self.day),
            'e' => padded(self.day as i64, 2, ' '),
            'H' => two(self.hour),
            'k' => padded(self.hour as i64, 2, ' '),
            'I' => two(hour12),
            'l' => padded(hour12 as i64, 2, ' '),
            'M' => two(self.minute),
            'S' => two(self.second),
            'f' => format!("{:06}", self.micro),
            'j' => padded(self.day_of_year() as i64 + 1, 3, '0'),
            'B' => MONTHS[self.month as usize - 1].to_string(),
            'b' | 'h' => MONTHS[self.month as usize - 1][..3].to_string(),
            'A' => DAYS[weekday as usize].to_string(),
            'a' => DAYS[weekday as usize][..3].to_string(),
            'p' => half.to_string(),
            'P' => half.to_lowercase(),
            'w' => weekday.to_string(),
            'u' => ((weekday + 6) % 7 + 1).to_string(),
            'U' => two((self.day_of_year() + 7 - weekday) / 7),
            'W' => two((self.day_of_year() + 7 - (weekday + 6) % 7) / 7),
            'G' => self.iso_week().0.to_string(),
            'V' => two(self.iso_week().1),
            'D' | 'x' => self.format("%m/%d/%y")?,
            'F' => self.format("%Y-%m-%d")?,
            'T' | 'X' => self.format("%H:%M:%S")?,
            'R' => self.format("%H:%M")?,
            'r' => self.format("%I:%M:%S %p")?,
            'c' => self.format("%a %b %e %H:%M:%S %Y")?,
            'n' => "\n".to_string(),
            't' => "\t".to_string(),
            '%' => "%".to_string(),
            'z' | 'Z' => String::new(), // the time is local and names no zone, as datetime.now()
            's' => return fault("strftime_now can't give %s: the time names no zone"),
            _ => return Ok(None),
        }))
    }
}
