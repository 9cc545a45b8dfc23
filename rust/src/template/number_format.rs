//! Owns: the text of a number under a format, shared by `%` and `str.format`.

use super::limits::{fault, Res};
use super::text::float_repr;
use super::value::Value;

/// How one value is laid out; `kind` is the last letter ('\0': none given).
#[derive(Clone)]
pub struct Spec {
    pub fill: char,
    pub align: char, // '<', '>', '^', '=' or '\0'
    pub sign: char,  // '+', '-', ' '
    pub alternate: bool,
    pub width: usize,
    pub grouping: Option<char>,
    pub precision: Option<usize>,
    pub kind: char,
}

pub const MAX_WIDTH: usize = 1 << 20;
const MAX_PRECISION: usize = 400;

impl Default for Spec {
    fn default() -> Self {
        Spec {
            fill: ' ',
            align: '\0',
            sign: '-',
            alternate: false,
            width: 0,
            grouping: None,
            precision: None,
            kind: '\0',
        }
    }
}

pub fn pad(body: &str, sign_length: usize, spec: &Spec, out: &mut String) {
    let length = body.chars().count();
    let missing = spec.width.saturating_sub(length);
    let (before, after) = match spec.align {
        '<' => (0, missing),
        '^' => (missing / 2, missing - missing / 2),
        '=' => {
            out.push_str(&body[..sign_length]);
            out.extend(std::iter::repeat_n(spec.fill, missing));
            out.push_str(&body[sign_length..]);
            return;
        }
        _ => (missing, 0),
    };
    out.extend(std::iter::repeat_n(spec.fill, before));
    out.push_str(body);
    out.extend(std::iter::repeat_n(spec.fill, after));
}

/// `min_digits`: the precision of a printf integer.
pub fn number_format(
    value: &Value,
    spec: &Spec,
    min_digits: Option<usize>,
    out: &mut String,
) -> Res<()> {
    if spec.precision.unwrap_or(0).max(min_digits.unwrap_or(0)) > MAX_PRECISION {
        return fault(format!("a precision in a format is larger than {MAX_PRECISION}"));
    }
    let (negative, mut digits) = match value {
        Value::Float(f) => float_digits(*f, spec)?,
        other => int_digits(other.as_index().unwrap_or(0), spec)?,
    };
    if let Some(min) = min_digits {
        if digits.len() < min {
            digits = "0".repeat(min - digits.len()) + &digits;
        }
    }
    if let Some(separator) = spec.grouping {
        digits = group_thousands(&digits, separator);
    }
    let prefix = match (spec.alternate, spec.kind) {
        (true, 'x') => "0x",
        (true, 'X') => "0X",
        (true, 'o') => "0o",
        (true, 'b') => "0b",
        _ => "",
    };
    let sign = match (negative, spec.sign) {
        (true, _) => "-",
        (false, '+') => "+",
        (false, ' ') => " ",
        _ => "",
    };
    let body = format!("{sign}{prefix}{digits}");
    pad(&body, sign.len() + prefix.len(), spec, out);
    Ok(())
}

fn int_digits(value: i128, spec: &Spec) -> Res<(bool, String)> {
    let magnitude = value.unsigned_abs();
    let digits = match spec.kind {
        'x' => format!("{magnitude:x}"),
        'X' => format!("{magnitude:X}"),
        'o' => format!("{magnitude:o}"),
        'b' => format!("{magnitude:b}"),
        'c' => match u32::try_from(magnitude).ok().and_then(char::from_u32) {
            Some(c) => c.to_string(),
            None => return fault("%c arg not in range"),
        },
        'd' | 'n' | '\0' => magnitude.to_string(),
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%' => return float_digits(value as f64, spec),
        other => return fault(format!("unknown format code {other:?} for an int")),
    };
    Ok((value < 0, digits))
}

fn float_digits(value: f64, spec: &Spec) -> Res<(bool, String)> {
    let magnitude = value.abs();
    let precision = spec.precision.unwrap_or(6);
    let digits = if !value.is_finite() {
        if value.is_nan() { "nan" } else { "inf" }.to_string()
    } else {
        match spec.kind {
            'f' | 'F' => format!("{magnitude:.precision$}"),
            '%' => format!("{:.precision$}%", magnitude * 100.0),
            'e' | 'E' => scientific(magnitude, precision),
            'g' | 'G' | 'n' => general(magnitude, precision, spec.alternate),
            '\0' => match spec.precision {
                None => float_repr(magnitude),
                Some(precision) => {
                    let text = general(magnitude, precision, false);
                    match text.contains(['.', 'e']) {
                        true => text,
                        false => text + ".0",
                    }
                }
            },
            other => return fault(format!("unknown format code {other:?} for a float")),
        }
    };
    let digits = match spec.kind {
        'E' | 'F' | 'G' => digits.to_uppercase(),
        _ => digits,
    };
    Ok((value.is_sign_negative() && !value.is_nan(), digits))
}

fn scientific(magnitude: f64, precision: usize) -> String {
    let text = format!("{magnitude:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

fn general(magnitude: f64, precision: usize, keep_zeros: bool) -> String {
    let precision = precision.max(1);
    let text = scientific(magnitude, precision - 1);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let strip = |digits: &str| match digits.contains('.') && !keep_zeros {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => digits.to_string(),
    };
    if exponent < -4 || exponent >= precision as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", strip(mantissa), exponent.abs());
    }
    let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
    strip(&format!("{magnitude:.decimals$}"))
}

fn group_thousands(digits: &str, separator: char) -> String {
    let whole_end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (whole, rest) = digits.split_at(whole_end);
    let mut out = String::new();
    for (at, c) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            out.push(separator);
        }
        out.push(c);
    }
    out + rest
}
