//! Least squares with few columns and no negative coefficients.

/// A fit of `y` by columns: coefficients (none below zero) and their standard errors.
#[derive(Clone, Debug)]
pub(super) struct Fit {
    pub(super) coefficients: Vec<f64>,
    pub(super) errors: Vec<f64>,
}

/// Columns are dropped one by one, the most negative first, until none is (an active set, one way:
/// exact for two columns, close for a few). None when nothing can be said.
pub(super) fn non_negative(columns: &[Vec<f64>], y: &[f64]) -> Option<Fit> {
    let mut used: Vec<usize> = (0..columns.len())
        .filter(|c| columns[*c].iter().any(|v| *v > 0.0))
        .collect();
    loop {
        if used.is_empty() || y.len() <= used.len() {
            return None;
        }
        let inverse = invert(gram(columns, &used))?;
        let products: Vec<f64> = used.iter().map(|c| dot(&columns[*c], y)).collect();
        let found: Vec<f64> = inverse.iter().map(|row| dot(row, &products)).collect();
        let lowest = (0..found.len()).min_by(|a, b| found[*a].total_cmp(&found[*b]))?;
        if found[lowest] < 0.0 {
            used.remove(lowest);
            continue;
        }
        let squared = (0..y.len())
            .map(|row| {
                let fitted: f64 = used
                    .iter()
                    .zip(&found)
                    .map(|(c, k)| columns[*c][row] * k)
                    .sum();
                (y[row] - fitted).powi(2)
            })
            .sum::<f64>();
        let variance = squared / (y.len() - used.len()) as f64;
        let mut fit = Fit {
            coefficients: vec![0.0; columns.len()],
            errors: vec![f64::INFINITY; columns.len()],
        };
        for (place, column) in used.iter().enumerate() {
            fit.coefficients[*column] = found[place];
            fit.errors[*column] = (variance * inverse[place][place]).max(0.0).sqrt();
        }
        return Some(fit);
    }
}

fn gram(columns: &[Vec<f64>], used: &[usize]) -> Vec<Vec<f64>> {
    used.iter()
        .map(|a| {
            used.iter()
                .map(|b| dot(&columns[*a], &columns[*b]))
                .collect()
        })
        .collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// By Gauss and Jordan, with pivots; none when columns are (nearly) the same.
fn invert(mut matrix: Vec<Vec<f64>>) -> Option<Vec<Vec<f64>>> {
    let n = matrix.len();
    let scale: Vec<f64> = (0..n).map(|i| matrix[i][i].abs().max(1e-300)).collect();
    for (i, row) in matrix.iter_mut().enumerate() {
        row.extend((0..n).map(|j| f64::from(u8::from(i == j))));
    }
    for column in 0..n {
        let pivot = (column..n).max_by(|a, b| {
            matrix[*a][column]
                .abs()
                .total_cmp(&matrix[*b][column].abs())
        })?;
        matrix.swap(column, pivot);
        let head = matrix[column][column];
        if head.abs() <= 1e-9 * scale[column] || !head.is_finite() {
            return None;
        }
        for value in &mut matrix[column] {
            *value /= head;
        }
        let row = matrix[column].clone();
        for (i, other) in matrix.iter_mut().enumerate() {
            let factor = other[column];
            if i != column && factor != 0.0 {
                for (value, own) in other.iter_mut().zip(&row) {
                    *value -= factor * own;
                }
            }
        }
    }
    Some(matrix.into_iter().map(|row| row[n..].to_vec()).collect())
}

/// Correlation of two rows; zero when one of them is constant.
pub(super) fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len().max(1) as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        aa += (x - mean_a).powi(2);
        bb += (y - mean_b).powi(2);
        ab += (x - mean_a) * (y - mean_b);
    }
    if aa > 0.0 && bb > 0.0 {
        ab / (aa * bb).sqrt()
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_made_it_is_found_and_never_negative() {
        let a: Vec<f64> = (0..30).map(|n| f64::from(n * 7 % 11)).collect();
        let b: Vec<f64> = (0..30).map(|n| f64::from(n * 5 % 13)).collect();
        let y: Vec<f64> = a.iter().zip(&b).map(|(a, b)| 3.0 * a + 0.5 * b).collect();
        let fit = non_negative(&[a.clone(), b.clone()], &y).unwrap();
        assert!(
            (fit.coefficients[0] - 3.0).abs() < 1e-9 && (fit.coefficients[1] - 0.5).abs() < 1e-9
        );
        let y: Vec<f64> = a.iter().zip(&b).map(|(a, b)| 3.0 * a - 0.5 * b).collect();
        let fit = non_negative(&[a.clone(), b], &y).unwrap();
        assert!(fit.coefficients[1].abs() < 1e-12 && fit.coefficients[0] > 0.0);
        assert!(
            non_negative(&[a.clone(), a], &y).is_none(),
            "the same twice"
        );
    }

    #[test]
    fn correlation_of_lines() {
        assert!((correlation(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0]) - 1.0).abs() < 1e-12);
        assert!(correlation(&[1.0, 1.0, 1.0], &[2.0, 4.0, 6.0]).abs() < 1e-12);
    }
}
