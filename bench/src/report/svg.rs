//! Plots as SVG: lines told apart by dashes and marks, so that they read without colour.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 44.0;

const DASHES: [&str; 6] = ["", "8 4", "2 3", "10 3 2 3", "1 4", "14 4"];
const MARKS: [&str; 6] = ["●", "■", "▲", "◆", "○", "□"];

/// A line of a plot.
pub(super) struct Line {
    pub(super) name: String,
    /// Dashes and mark: the same for the same server in all plots.
    pub(super) style: usize,
    pub(super) points: Vec<(f64, f64)>,
}

/// A plot.
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) across: String,
    pub(super) up: String,
    /// The upward axis is logarithmic.
    pub(super) logarithmic: bool,
    /// Names for places across, instead of numbers.
    pub(super) ticks: Vec<(f64, String)>,
    pub(super) lines: Vec<Line>,
}

impl Plot {
    /// The plot; nothing, if it has no points.
    pub(super) fn svg(&self) -> Option<String> {
        let points = || self.lines.iter().flat_map(|line| line.points.iter().copied());
        let least = |of: fn((f64, f64)) -> f64| points().map(of).fold(f64::INFINITY, f64::min);
        let most = |of: fn((f64, f64)) -> f64| points().map(of).fold(f64::NEG_INFINITY, f64::max);
        let (x0, x1) = (least(|point| point.0), most(|point| point.0));
        if !x0.is_finite() {
            return None;
        }
        let scale = Scale {
            x0,
            x1: if x1 > x0 { x1 } else { x0 + 1.0 },
            y0: if self.logarithmic {
                least(|point| point.1).max(1e-3).log10().floor()
            } else {
                0.0
            },
            y1: if self.logarithmic {
                most(|point| point.1).max(2e-3).log10().ceil()
            } else {
                round_up(most(|point| point.1))
            },
            logarithmic: self.logarithmic,
        };
        let mut svg = format!(
            "<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{}'><text x='{LEFT}' \
             y='14' class='t'>{}</text>",
            escape(&self.title),
            escape(&self.title)
        );
        self.axes(&scale, &mut svg);
        for (place, line) in self.lines.iter().enumerate() {
            line.draw(place, &scale, &mut svg);
        }
        svg.push_str("</svg>");
        Some(svg)
    }

    fn axes(&self, scale: &Scale, svg: &mut String) {
        for step in 0..=4 {
            let value = scale.y0 + (scale.y1 - scale.y0) * f64::from(step) / 4.0;
            let y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * f64::from(step) / 4.0;
            let shown = super::number(if scale.logarithmic { 10f64.powf(value) } else { value });
            let right = WIDTH - RIGHT;
            let _ = write!(
                svg,
                "<path d='M{LEFT} {y}H{right}' class='g'/><text x='{}' y='{}' \
                 text-anchor='end'>{shown}</text>",
                LEFT - 6.0,
                y + 4.0
            );
        }
        let own = [scale.x0, f64::midpoint(scale.x0, scale.x1), scale.x1];
        let own = own.map(|x| (x, super::number(x)));
        let ticks = if self.ticks.is_empty() { own.to_vec() } else { self.ticks.clone() };
        for (x, name) in ticks {
            let (x, y) = (scale.x(x), HEIGHT - BOTTOM + 16.0);
            let name = escape(&name);
            let _ = write!(svg, "<text x='{x:.1}' y='{y}' text-anchor='middle'>{name}</text>");
        }
        let (x, y) = (LEFT + (WIDTH - LEFT - RIGHT) / 2.0, HEIGHT - 8.0);
        let (across, up) = (escape(&self.across), escape(&self.up));
        let _ = write!(svg, "<text x='{x}' y='{y}' text-anchor='middle'>{across}</text>");
        let _ = write!(
            svg,
            "<text x='14' y='{0}' transform='rotate(-90 14 {0})' text-anchor='middle'>{up}</text>",
            HEIGHT / 2.0
        );
    }
}

impl Line {
    fn draw(&self, place: usize, scale: &Scale, svg: &mut String) {
        let (dash, mark) = (DASHES[self.style % DASHES.len()], MARKS[self.style % MARKS.len()]);
        let mut path = String::new();
        for (number, (x, y)) in self.points.iter().enumerate() {
            let letter = if number == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{:.1} {:.1}", scale.x(*x), scale.y(*y));
        }
        let class = self.style % DASHES.len();
        let _ = write!(svg, "<path d='{path}' class='l c{class}' stroke-dasharray='{dash}'/>");
        // Marks on every point would hide a long line.
        let every = self.points.len().div_ceil(12).max(1);
        for (x, y) in self.points.iter().step_by(every) {
            let (x, y) = (scale.x(*x), scale.y(*y) + 3.0);
            let _ = write!(
                svg,
                "<text x='{x:.1}' y='{y:.1}' text-anchor='middle' class='m c{class}'>{mark}</text>"
            );
        }
        let y = TOP + 16.0 * place as f64 + 8.0;
        let x = WIDTH - RIGHT + 10.0;
        let _ = write!(
            svg,
            "<path d='M{x} {}H{}' class='l c{class}' stroke-dasharray='{dash}'/><text x='{}' \
             y='{y}' class='c{class}'>{mark} {}</text>",
            y - 4.0,
            x + 26.0,
            x + 30.0,
            escape(&self.name)
        );
    }
}

struct Scale {
    x0: f64,
    x1: f64,
    y0: f64,
    y1: f64,
    logarithmic: bool,
}

impl Scale {
    fn x(&self, value: f64) -> f64 {
        LEFT + (value - self.x0) / (self.x1 - self.x0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.max(1e-3).log10() } else { value };
        let share = (value - self.y0) / (self.y1 - self.y0).max(1e-9);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }
}

/// The next number of the form 1, 2 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.max(1e-9).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= value).unwrap_or(value)
}

/// Text for a page.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_on_round_numbers() {
        assert_eq!([0.7, 1.0, 1.1, 30.0, 501.0].map(round_up), [1.0, 1.0, 2.0, 50.0, 1000.0]);
    }

    #[test]
    fn plots_tell_lines_apart_without_colour() {
        let line = |name: &str, style| Line {
            name: name.into(),
            style,
            points: vec![(0.0, 1.0), (1.0, 900.0)],
        };
        let mut plot = Plot {
            title: "a < b".into(),
            across: "x".into(),
            up: "y".into(),
            logarithmic: true,
            ticks: Vec::new(),
            lines: vec![line("one", 0), line("two", 1)],
        };
        let svg = plot.svg().unwrap();
        assert!(svg.contains("a &lt; b") && svg.contains('●') && svg.contains('■'));
        assert!(svg.contains("stroke-dasharray='8 4'") && !svg.contains("NaN"));
        plot.lines.clear();
        assert!(plot.svg().is_none());
    }
}
