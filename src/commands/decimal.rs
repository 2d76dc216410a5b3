//! The sums of INCRBYFLOAT, in Redis's plain notation with at most 17 decimals. They are exact decimals as long as
//! they fit 128 bits (numbers below 10^21): 0.1 + 0.2 must give 0.3, never a binary fraction's noise. Redis itself adds
//! in the machine's `long double`: with the 113 bits of ARM it answers the same, with the 64 bits of x86 its last
//! decimals are noise from 1 000 on (5 000 + 5.6 = 5005.60000000000000009).

use super::error::CommandError;

/// As many decimals as Redis prints.
const DECIMALS: u32 = 17;
const ONE: i128 = 10_i128.pow(DECIMALS);

/// The text of the sum of two numbers.
///
/// # Errors
/// [`CommandError::NotAFloat`], or Redis's line for a sum that is not finite.
pub fn sum(stored: &[u8], increment: &[u8]) -> Result<String, CommandError> {
    let (stored, increment) = (number(stored)?, number(increment)?);
    if let (Some(one), Some(other)) = (scaled(stored), scaled(increment))
        && let Some(sum) = one.checked_add(other)
    {
        return Ok(plain(sum));
    }
    let sum = approximate(stored) + approximate(increment);
    if !sum.is_finite() {
        return Err(CommandError::other("ERR increment would produce NaN or Infinity"));
    }
    Ok(trimmed(format!("{sum:.17}")))
}

/// The word, if it is a number that Redis reads; its own words for infinity are among them.
fn number(word: &[u8]) -> Result<&str, CommandError> {
    let text = std::str::from_utf8(word).map_err(|_not_text| CommandError::NotAFloat)?;
    let value: f64 = text.parse().map_err(|_not_a_number| CommandError::NotAFloat)?;
    if value.is_nan() { Err(CommandError::NotAFloat) } else { Ok(text) }
}

fn approximate(text: &str) -> f64 {
    text.parse().unwrap_or(f64::INFINITY)
}

/// The number as a multiple of 10^-17, rounded; `None` if it does not fit.
fn scaled(text: &str) -> Option<i128> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let decimals = i32::try_from(fraction.len()).ok()?;
    let shift = exponent.parse::<i32>().ok()?.checked_sub(decimals)?.checked_add_unsigned(DECIMALS)?;
    match 10_i128.checked_pow(shift.unsigned_abs()) {
        Some(factor) if shift >= 0 => digits.checked_mul(factor),
        Some(factor) => {
            let (quotient, rest) = (digits / factor, (digits % factor).abs());
            // Half a factor added to the digits, or twice the rest, may not fit 128 bits.
            Some(if rest >= factor - rest { quotient + digits.signum() } else { quotient })
        }
        None if shift >= 0 && digits != 0 => None,
        None => Some(0),
    }
}

fn plain(scaled: i128) -> String {
    let (sign, size) = (if scaled < 0 { "-" } else { "" }, scaled.unsigned_abs());
    let one = ONE.unsigned_abs();
    trimmed(format!("{sign}{}.{:017}", size / one, size % one))
}

/// Without the zeros that say nothing.
fn trimmed(text: String) -> String {
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0".to_owned() } else { short.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(stored: &str, increment: &str) -> Result<String, CommandError> {
        sum(stored.as_bytes(), increment.as_bytes())
    }

    #[test]
    fn as_many_digits_as_128_bits_hold_are_rounded_and_not_wrapped() {
        for (stored, expected) in [
            ("0.170141183460469231731687303715884105727", "0.17014118346046923"),
            ("-0.170141183460469231731687303715884105728", "-0.17014118346046923"),
            ("0.99999999999999999999999999999999999999", "1"),
            ("0.000000000000000005", "0.00000000000000001"),
            ("0.000000000000000004999", "0"),
        ] {
            assert_eq!(text(stored, "0").as_deref(), Ok(expected), "{stored}");
        }
    }

    #[test]
    fn sums_are_exact_decimals_without_trailing_zeros() {
        for (stored, increment, expected) in [
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0E2", "5200"),
            ("-1.5", "1.5", "0"),
            ("0", "-1e-18", "0"),
            ("0", "3.0e-5", "0.00003"),
            ("0001.50", ".5", "2"),
            ("1.", "+1", "2"),
            ("100", "0", "100"),
            ("0", "0e999", "0"),
            ("0", "1e22", "10000000000000000000000"),
        ] {
            assert_eq!(text(stored, increment).as_deref(), Ok(expected), "{stored} + {increment}");
        }
    }

    #[test]
    fn what_is_no_finite_number_is_refused() {
        for word in ["", " 1", "1 ", "abc", "nan", "1e", ".", "\u{661}"] {
            assert_eq!(text("0", word), Err(CommandError::NotAFloat), "{word}");
            assert_eq!(text(word, "0"), Err(CommandError::NotAFloat), "{word}");
        }
        assert!(matches!(text("0", "-inf"), Err(CommandError::Other(_))));
    }
}
