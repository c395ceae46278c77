// Numbers, exactly, and as pages should write them. Independent of how tillflow does it.

const ONE = 10_000n;

/** `"12.5000"` as 1/10,000. */
export function money(text) {
  const found = /^(-?)(\d+)\.(\d{4})$/.exec(text);
  if (!found) throw new Error(`${JSON.stringify(text)} is not money with four decimals`);
  const magnitude = BigInt(found[2]) * ONE + BigInt(found[3]);
  return found[1] ? -magnitude : magnitude;
}

export function sum(values) {
  return values.reduce((total, value) => total + value, 0n);
}

/** `numerator / unit`, half to even. */
function rounded(numerator, unit) {
  const quotient = numerator / unit;
  const twice = (numerator % unit) * 2n;
  return twice > unit || (twice === unit && quotient % 2n === 1n) ? quotient + 1n : quotient;
}

const grouped = (number) => number.toString().replace(/\B(?=(\d{3})+$)/g, ",");

/** `$1,234.56`, from 1/10,000. */
export function moneyExact(amount) {
  const cents = rounded(amount < 0n ? -amount : amount, 100n);
  const minus = amount < 0n && cents > 0n ? "\u2212" : "";
  return `${minus}$${grouped(cents / 100n)}.${(cents % 100n).toString().padStart(2, "0")}`;
}

/** Three significant digits and a suffix. */
function abbreviated(magnitude, one) {
  for (const [size, suffix] of [[1_000n, "k"], [1_000_000n, "M"], [1_000_000_000n, "B"]]) {
    for (const decimals of [2, 1, 0]) {
      const power = 10n ** BigInt(decimals);
      const scaled = rounded(magnitude * power, one * size);
      if (scaled >= 1_000n) continue;
      const fraction = decimals ? `.${(scaled % power).toString().padStart(decimals, "0")}` : "";
      return `${scaled / power}${fraction}${suffix}`;
    }
  }
  throw new Error(`${magnitude} is more than this test expects`);
}

/** `$9,412.50`, and from 10,000 on `$48.2k`. */
export function moneyShort(amount) {
  if (amount < 0n || rounded(amount, 100n) < 1_000_000n) return moneyExact(amount);
  return `$${abbreviated(amount, ONE)}`;
}

/** `12,408`, and from a million on `1.24M`. */
export function count(number) {
  const whole = BigInt(number);
  if (whole < 0n) return `\u2212${count(-whole)}`;
  return whole < 1_000_000n ? grouped(whole) : abbreviated(whole, 1n);
}
