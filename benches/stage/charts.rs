//! Bars and lines as SVG: rectangles, strokes and words, for which a library of charts would be more to configure than this is to read.

use std::fmt::Write;

const WIDTH: f64 = 900.0;
const BAR_HEIGHT: f64 = 18.0;
const BAR_GAP: f64 = 6.0;
const GROUP_GAP: f64 = 34.0;
const TOP: f64 = 56.0;
/// Where the bars begin, right of the names.
const LEFT: f64 = 270.0;
/// What is left for the number right of the longest bar.
const RIGHT: f64 = 90.0;
const COLOURS: [&str; 8] = ["#1b6ca8", "#4f9bd1", "#9cc9e8", "#a33327", "#cf6a57", "#e8aea2", "#5f7d3b", "#999999"];

/// Bars that belong together.
#[derive(Clone, Debug)]
pub struct Group {
    /// What they have in common.
    pub title: String,
    /// Name, place in the row of colours, and number of each.
    pub bars: Vec<(String, usize, f64)>,
}

/// A chart of groups of bars, all on one scale that starts at 0.
pub fn bars(title: &str, unit: &str, groups: &[Group]) -> String {
    let numbers = groups.iter().flat_map(|group| group.bars.iter().map(|(_, _, number)| *number));
    let end = scale_end(numbers.fold(0.0, f64::max));
    let bar_count: usize = groups.iter().map(|group| group.bars.len()).sum();
    let height = TOP + groups.len() as f64 * GROUP_GAP + bar_count as f64 * (BAR_HEIGHT + BAR_GAP);
    let mut svg = head(title, unit, height);
    let mut y = TOP;
    for group in groups {
        // Writing to a string cannot fail.
        let _ =
            writeln!(svg, r#"<text x="16" y="{:.0}" font-weight="bold">{}</text>"#, y + 20.0, escaped(&group.title));
        y += GROUP_GAP;
        for (name, place, number) in &group.bars {
            bar(&mut svg, y, name, COLOURS[place % COLOURS.len()], *number, number / end);
            y += BAR_HEIGHT + BAR_GAP;
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn bar(svg: &mut String, y: f64, name: &str, colour: &str, number: f64, share: f64) {
    let (text_y, width) = (y + BAR_HEIGHT - 4.0, share * (WIDTH - LEFT - RIGHT));
    let _ = writeln!(
        svg,
        r#"<text x="{:.0}" y="{text_y:.0}" text-anchor="end">{}</text><rect x="{LEFT}" y="{y:.0}" width="{width:.1}" height="{BAR_HEIGHT}" fill="{colour}"/><text x="{:.1}" y="{text_y:.0}">{}</text>"#,
        LEFT - 8.0,
        escaped(name),
        LEFT + width + 6.0,
        number_text(number)
    );
}

/// One line of a chart.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// Its place in the row of colours.
    pub colour: usize,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

const LINES_HEIGHT: f64 = 420.0;
/// The corners of the plane that lines are drawn on: left, right, top, bottom.
const PLANE: [f64; 4] = [90.0, WIDTH - 30.0, 90.0, LINES_HEIGHT - 40.0];

/// A chart of lines; the vertical scale starts at 0, the horizontal one where the first point is.
pub fn lines(title: &str, unit: &str, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    let from = points().map(|(x, _)| x).fold(f64::INFINITY, f64::min).min(0.0);
    let to = points().map(|(x, _)| x).fold(from + f64::MIN_POSITIVE, f64::max);
    let end = scale_end(points().map(|(_, y)| y).fold(0.0, f64::max));
    let [left, right, top, bottom] = PLANE;
    let place =
        |(x, y): (f64, f64)| (left + (x - from) / (to - from) * (right - left), bottom - y / end * (bottom - top));
    let mut svg = head(title, unit, LINES_HEIGHT);
    for part in 0..=4 {
        let share = f64::from(part) / 4.0;
        let (x, y) = (left + share * (right - left), bottom - share * (bottom - top));
        let _ = writeln!(
            svg,
            r##"<line x1="{left}" y1="{y:.0}" x2="{right}" y2="{y:.0}" stroke="#dddddd"/><text x="{:.0}" y="{:.0}" text-anchor="end">{}</text><text x="{x:.0}" y="{:.0}" text-anchor="middle">{}</text>"##,
            left - 8.0,
            y + 4.0,
            number_text(end * share),
            bottom + 20.0,
            number_text(from + (to - from) * share)
        );
    }
    for (number, line) in lines.iter().enumerate() {
        let colour = COLOURS[line.colour % COLOURS.len()];
        let places = line.points.iter().copied().map(place);
        let path: Vec<String> = places.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let x = left + number as f64 * (right - left) / lines.len() as f64;
        let _ = writeln!(
            svg,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/><rect x="{x:.0}" y="62" width="14" height="10" fill="{colour}"/><text x="{:.0}" y="72">{}</text>"#,
            path.join(" "),
            x + 20.0,
            escaped(&line.name)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// The beginning of a chart: its ground, its title and its unit.
fn head(title: &str, unit: &str, height: f64) -> String {
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="16" y="28" font-size="17" font-weight="bold">{}</text>
<text x="16" y="46" fill="#666666">{}</text>
"##,
        escaped(title),
        escaped(unit)
    )
}

/// Three digits, and thousands apart.
pub fn number_text(number: f64) -> String {
    match number.abs() {
        large if large >= 99.95 => {
            let digits = format!("{number:.0}");
            let cut = digits.len() % 3;
            let groups = digits.as_bytes()[cut..].chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
            let first = (cut > 0).then(|| digits[..cut].to_owned());
            first.into_iter().chain(groups).collect::<Vec<_>>().join(" ")
        }
        middle if middle >= 9.995 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// The end of the scale: the next 1, 2 or 5 times a power of ten.
fn scale_end(largest: f64) -> f64 {
    if largest <= 0.0 {
        return 1.0;
    }
    let power = 10.0_f64.powf(largest.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|end| *end >= largest).unwrap_or(largest)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('`', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_at_or_above_the_largest_number() {
        for (largest, end) in
            [(0.0, 1.0), (0.7, 1.0), (1.0, 1.0), (1.1, 2.0), (43_000.0, 50_000.0), (51_000.0, 100_000.0)]
        {
            assert!((scale_end(largest) - end).abs() < end * 1e-9, "{largest}: {}", scale_end(largest));
        }
    }

    #[test]
    fn numbers_have_three_digits() {
        let numbers = [0.0, 1.234, 12.34, 99.96, 123.4, 1_234.0, 123_456.0, 1_234_567.0];
        let texts = ["0.00", "1.23", "12.3", "100", "123", "1 234", "123 456", "1 234 567"];
        assert!(numbers.iter().zip(texts).all(|(number, text)| number_text(*number) == text));
    }

    #[test]
    fn a_chart_has_a_bar_for_each_number() {
        let bar = |name: &str, number| (name.to_owned(), 0, number);
        let group = Group { title: "a < b".to_owned(), bars: vec![bar("one", 1.0), bar("two", 2.0)] };
        let svg = bars("t", "u", &[group]);
        assert_eq!(svg.matches("<rect").count(), 3, "the ground and two bars");
        assert!(svg.contains("a &lt; b") && svg.contains(r#"width="540.0""#) && svg.contains(r#"width="270.0""#));
    }

    #[test]
    fn lines_go_from_their_first_point_to_their_last_on_one_scale() {
        let line =
            |name: &str, points: &[(f64, f64)]| Line { name: name.to_owned(), colour: 0, points: points.to_vec() };
        let svg = lines("t", "u", &[line("one", &[(0.0, 0.0), (10.0, 10.0)]), line("two", &[(5.0, 5.0)])]);
        assert!(svg.contains(r#"points="90.0,380.0 870.0,90.0""#), "{svg}");
        assert!(svg.contains(r#"points="480.0,235.0""#) && svg.matches("<polyline").count() == 2, "{svg}");
    }
}
