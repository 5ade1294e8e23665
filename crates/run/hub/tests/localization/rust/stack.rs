//! A calculator that works from a stack.

#[derive(Debug, PartialEq)]
pub enum Wrong {
    Empty,
    Word,
    Zero,
}

pub fn calculated(line: &str) -> Result<i64, Wrong> {
    let mut stack: Vec<i64> = Vec::new();
    for word in line.split_whitespace() {
        if let Ok(number) = word.parse() {
            stack.push(number);
            continue;
        }
        let right = stack.pop().ok_or(Wrong::Empty)?;
        if word == "neg" {
            stack.push(-right);
            continue;
        }
        let left = stack.pop().ok_or(Wrong::Empty)?;
        let result = match word {
            "+" => left + right,
            "-" => left - right,
            "*" => left * right,
            "/" => divided(left, right)?,
            "%" => left % right, // MISTAKE
            _ => return Err(Wrong::Word),
        };
        stack.push(result);
    }
    stack.pop().ok_or(Wrong::Empty)
}

fn divided(left: i64, right: i64) -> Result<i64, Wrong> {
    if right == 0 {
        return Err(Wrong::Zero);
    }
    Ok(left / right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sum() {
        assert_eq!(calculated("1 2 +"), Ok(3));
    }

    #[test]
    fn difference() {
        assert_eq!(calculated("1 2 - neg"), Ok(1));
    }

    #[test]
    fn quotient() {
        assert_eq!(calculated("6 2 /"), Ok(3));
        assert_eq!(calculated("6 0 /"), Err(Wrong::Zero));
    }

    #[test]
    fn remainder() {
        assert_eq!(calculated("7 4 %"), Ok(3));
    }

    #[test]
    fn remainder_of_zero() {
        assert_eq!(calculated("7 0 %"), Err(Wrong::Zero));
    }

    #[test]
    fn wrong() {
        assert_eq!(calculated("1 2 x"), Err(Wrong::Word));
        assert_eq!(calculated("+"), Err(Wrong::Empty));
    }
}
