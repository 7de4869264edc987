//! The result as a picture: load, pods and waiting, one below the other over the same time.
//!
//! Self-contained: an SVG without anything from elsewhere, or a page with the SVG and the table.
//! Nothing in it depends on when or where it was made.

use std::path::Path;

use penstock_autoscaler::PolicyKind;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::model::{Outcome, Sample};
use super::plan::Plan;
use super::report::{head, short};

/// Size of the picture, and of the part above the first panel, in pixels.
const SIZE: (u32, u32) = (1000, 900);
const HEAD: u32 = 108;
/// Points along the time: no screen shows more, and a month would be a huge file.
const POINTS: usize = 1000;
/// Room beside and below each panel for its figures.
const LEFT: u32 = 64;
const BELOW: u32 = 28;

/// What a chart file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A picture.
    Svg,
    /// A page with the picture and the table.
    Html,
}

impl Form {
    /// By the end of the file's name.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "svg" => Some(Self::Svg),
            "html" => Some(Self::Html),
            _ => None,
        }
    }
}

/// A stretch of time that is one point wide.
struct Point {
    /// Its beginning, in units of the axis.
    at: f64,
    /// Requests per second, on average.
    rps: f64,
    /// At most, within it.
    wanted: f64,
    ready: f64,
    waiting: f64,
}

/// The axis of time.
struct Axis {
    unit: &'static str,
    /// Seconds of a unit.
    seconds: f64,
    end: f64,
}

/// The file's content.
///
/// # Errors
///
/// The picture could not be drawn, in a sentence.
pub(crate) fn draw(
    form: Form,
    plan: &Plan,
    outcomes: &[Outcome],
    table: &str,
) -> Result<String, String> {
    let mut svg = String::new();
    picture(&mut svg, plan, outcomes)
        .map_err(|error| format!("the chart could not be drawn: {error}"))?;
    Ok(match form {
        Form::Svg => svg,
        Form::Html => page(&svg, table),
    })
}

type Failed = DrawingAreaErrorKind<std::io::Error>;

fn picture(svg: &mut String, plan: &Plan, outcomes: &[Outcome]) -> Result<(), Failed> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    for (line, (name, value)) in (0..).zip(head(plan)) {
        let style = ("sans-serif", 14).into_font().color(&BLACK);
        root.draw(&Text::new(
            format!("{name}: {value}"),
            (LEFT.cast_signed(), 10 + 18 * line),
            style,
        ))?;
    }
    let seconds = outcomes.iter().map(|one| one.samples.len()).max();
    let axis = Axis::over(seconds.unwrap_or(1).max(1));
    let runs: Vec<(PolicyKind, Vec<Point>)> = outcomes
        .iter()
        .map(|one| (one.policy, points(&one.samples, &axis)))
        .collect();
    let (_, below) = root.split_vertically(HEAD);
    let panels = below.split_evenly((3, 1));
    if let [load, pods, waiting] = panels.as_slice() {
        load_panel(load, &axis, &runs)?;
        pods_panel(pods, &axis, &runs)?;
        waiting_panel(waiting, &axis, &runs)?;
    }
    root.present()
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Runs = [(PolicyKind, Vec<Point>)];

fn load_panel(area: &Area<'_>, axis: &Axis, runs: &Runs) -> Result<(), Failed> {
    // All policies had the same requests.
    let points = runs.first().map_or(&[][..], |(_, points)| points);
    let line = Line {
        name: "arrived".to_owned(),
        color: RGBColor(90, 90, 90),
        width: 1,
        steps: steps(points, axis, |point| point.rps),
    };
    panel(area, axis, "load, requests per second", &[line])
}

fn pods_panel(area: &Area<'_>, axis: &Axis, runs: &Runs) -> Result<(), Failed> {
    let lines: Vec<Line> = runs
        .iter()
        .flat_map(|(policy, points)| {
            let (strong, pale) = colors(*policy);
            let name = policy.as_str();
            [
                Line {
                    name: format!("{name}: wanted"),
                    color: pale,
                    width: 3,
                    steps: steps(points, axis, |point| point.wanted),
                },
                Line {
                    name: format!("{name}: ready"),
                    color: strong,
                    width: 1,
                    steps: steps(points, axis, |point| point.ready),
                },
            ]
        })
        .collect();
    panel(area, axis, "pods", &lines)
}

fn waiting_panel(area: &Area<'_>, axis: &Axis, runs: &Runs) -> Result<(), Failed> {
    let lines: Vec<Line> = runs
        .iter()
        .map(|(policy, points)| Line {
            name: policy.as_str().to_owned(),
            color: colors(*policy).0,
            width: 1,
            steps: steps(points, axis, |point| point.waiting),
        })
        .collect();
    panel(area, axis, "requests waiting, at most", &lines)
}

/// A line that goes up and down in steps.
struct Line {
    name: String,
    color: RGBColor,
    width: u32,
    steps: Vec<(f64, f64)>,
}

/// A strong and a pale color, apart also for those who see red and green alike.
fn colors(policy: PolicyKind) -> (RGBColor, RGBColor) {
    match policy {
        PolicyKind::Knative => (RGBColor(196, 78, 0), RGBColor(248, 199, 152)),
        PolicyKind::Demand => (RGBColor(0, 92, 171), RGBColor(158, 202, 238)),
    }
}

fn panel(area: &Area<'_>, axis: &Axis, title: &str, lines: &[Line]) -> Result<(), Failed> {
    let heights = lines.iter().flat_map(|line| &line.steps).map(|(_, y)| *y);
    let top = heights.fold(1.0, f64::max) * 1.2;
    let mut chart = ChartBuilder::on(area)
        .margin_right(20)
        .margin_top(8)
        .caption(title, ("sans-serif", 15))
        .x_label_area_size(BELOW)
        .y_label_area_size(LEFT)
        .build_cartesian_2d(0.0..axis.end, 0.0..top)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .axis_style(RGBColor(120, 120, 120))
        .label_style(("sans-serif", 12))
        .x_labels(11)
        .y_labels(6)
        .x_label_formatter(&|x| format!("{}{}", short(*x), axis.unit))
        .y_label_formatter(&|y| short(*y))
        .draw()?;
    for line in lines {
        let style = line.color.stroke_width(line.width);
        chart
            .draw_series(LineSeries::new(line.steps.iter().copied(), style))?
            .label(line.name.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font(("sans-serif", 12))
        .background_style(WHITE.mix(0.8))
        .border_style(RGBColor(225, 225, 225))
        .draw()
}

impl Axis {
    fn over(seconds: usize) -> Self {
        let (unit, size) = match seconds {
            ..=600 => ("s", 1.0),
            601..=14_400 => ("min", 60.0),
            14_401..=259_200 => ("h", 3600.0),
            _ => ("d", 86_400.0),
        };
        Self {
            unit,
            seconds: size,
            end: seconds as f64 / size,
        }
    }
}

/// At most [`POINTS`] points.
fn points(samples: &[Sample], axis: &Axis) -> Vec<Point> {
    let wide = samples.len().div_ceil(POINTS).max(1);
    let chunks = samples.chunks(wide).enumerate();
    let points = chunks.map(|(index, chunk)| {
        let most = |figure: fn(&Sample) -> u32| {
            f64::from(chunk.iter().map(figure).max().unwrap_or_default())
        };
        let arrived: f64 = chunk.iter().map(|one| f64::from(one.arrived)).sum();
        Point {
            at: (index * wide) as f64 / axis.seconds,
            rps: arrived / chunk.len() as f64,
            wanted: most(|one| one.wanted),
            ready: most(|one| one.ready),
            waiting: most(|one| one.waiting),
        }
    });
    points.collect()
}

/// Two corners for each change, and none where nothing changes.
fn steps(points: &[Point], axis: &Axis, figure: impl Fn(&Point) -> f64) -> Vec<(f64, f64)> {
    let mut steps: Vec<(f64, f64)> = Vec::new();
    for point in points {
        let y = figure(point);
        match steps.last() {
            Some((_, before)) if *before == y => {}
            Some((_, before)) => {
                let before = *before;
                steps.extend([(point.at, before), (point.at, y)]);
            }
            None => steps.push((point.at, y)),
        }
    }
    if let Some((_, last)) = steps.last() {
        let last = *last;
        steps.push((axis.end, last));
    }
    steps
}

/// A page: the picture, and the table as it is told on a terminal.
fn page(svg: &str, table: &str) -> String {
    let table = table
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>penstock simulate</title>\n\
         <style>body{{margin:1em;font-family:sans-serif}}svg{{max-width:100%;height:auto}}</style>\n\
         </head>\n<body>\n{svg}\n<pre>\n{table}</pre>\n</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(wanted: u32) -> Sample {
        Sample {
            arrived: 1,
            wanted,
            ready: 0,
            waiting: 0,
        }
    }

    #[test]
    fn a_line_has_corners_where_something_changes_and_ends_with_the_time() {
        let axis = Axis::over(5);
        let points = points(&[1, 1, 4, 4, 2].map(sample), &axis);
        let want = [
            (0.0, 1.0),
            (2.0, 1.0),
            (2.0, 4.0),
            (4.0, 4.0),
            (4.0, 2.0),
            (5.0, 2.0),
        ];
        assert_eq!(steps(&points, &axis, |point| point.wanted), want);
    }

    #[test]
    fn a_long_time_is_shown_in_few_points_that_keep_the_peaks() {
        let mut samples = vec![sample(1); 86_400];
        samples[40_000] = sample(9);
        let axis = Axis::over(samples.len());
        let points = points(&samples, &axis);
        assert!(points.len() <= POINTS);
        assert!(points.iter().any(|point| point.wanted == 9.0));
        assert_eq!((axis.unit, axis.end), ("h", 24.0));
    }
}
