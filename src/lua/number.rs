//! Numbers as C's `printf` writes them, which is how Redis hands the numbers of a script to commands and to JSON.

use mlua::Value;

/// `%.{digits}g`.
#[must_use]
pub fn general(number: f64, digits: usize) -> String {
    if number.is_nan() {
        return if number.is_sign_negative() { "-nan" } else { "nan" }.to_owned();
    }
    if number.is_infinite() {
        return if number < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    let scientific = format!("{number:.*e}", digits.saturating_sub(1));
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let digits = i32::try_from(digits).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= digits {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.unsigned_abs());
    }
    let decimals = usize::try_from(digits - 1 - exponent).unwrap_or_default();
    without_zeros(&format!("{number:.decimals$}")).to_owned()
}

fn without_zeros(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

/// The number that a value is.
#[must_use]
pub fn of(value: &Value) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a number of Lua 5.1 is a double, however it is read")]
    value.as_number().or_else(|| value.as_integer().map(|number| number as f64))
}

/// A number as C's conversion to `long long` makes it an integer on x86-64: what does not fit is the smallest one.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "what would be lost is looked at first")]
pub fn truncated(number: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&number) { number as i64 } else { i64::MIN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_printf_writes_them() {
        for (number, digits, text) in [
            (3.7, 17, "3.7000000000000002"),
            (0.0, 17, "0"),
            (-0.0, 17, "-0"),
            (1e20, 14, "1e+20"),
            (100.0, 14, "100"),
            (1.5, 14, "1.5"),
            (1e-5, 14, "1e-05"),
            (0.0001, 14, "0.0001"),
            (123_456_789_012_345.0, 14, "1.2345678901234e+14"),
            (12_345_678_901_234_568.0, 17, "12345678901234568"),
            (1e17, 17, "1e+17"),
            (f64::INFINITY, 17, "inf"),
        ] {
            assert_eq!(general(number, digits), text);
        }
    }

    #[test]
    fn numbers_that_fit_no_integer_are_the_smallest() {
        assert_eq!([3.99, -3.99, 1e300, f64::NAN].map(truncated), [3, -3, i64::MIN, i64::MIN]);
    }
}
