//! Lines in a plane, as SVG.

use std::path::Path;

use plotters::prelude::*;

/// A line and its name.
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// The part of the values, in per cent, that are as large as each at most.
pub(crate) fn cumulative(mut values: Vec<f64>) -> Vec<(f64, f64)> {
    values.sort_by(f64::total_cmp);
    let share = 100.0 / values.len() as f64;
    values.into_iter().zip(1..).map(|(value, number)| (value, share * f64::from(number))).collect()
}

/// The most points of a line that has each of them marked.
const FEW: usize = 20;

/// Draws lines from the origin on.
pub(crate) fn plot(
    file: &Path,
    title: &str,
    across: &str,
    up: &str,
    lines: &[Line<'_>],
) -> anyhow::Result<()> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(0.0, f64::max);
    let (right, top) = (most(|point| point.0), 1.1 * most(|point| point.1));
    // Where what rises with the values is not.
    let position = match lines.iter().any(|line| line.points.len() > FEW) {
        true => SeriesLabelPosition::LowerRight,
        false => SeriesLabelPosition::UpperLeft,
    };
    let area = SVGBackend::new(file, (720, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(40)
        .y_label_area_size(80)
        .build_cartesian_2d(0.0..right, 0.0..top)?;
    chart.configure_mesh().x_desc(across).y_desc(up).light_line_style(WHITE).draw()?;
    for (number, line) in lines.iter().enumerate() {
        let colour = Palette99::pick(number).to_rgba();
        let mark = if line.points.len() <= FEW { 4 } else { 0 };
        let series = LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)).point_size(mark);
        let legend = move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2));
        chart.draw_series(series)?.label(line.name).legend(legend);
    }
    chart.configure_series_labels().position(position).border_style(BLACK.mix(0.3)).draw()?;
    area.present()?;
    Ok(())
}
