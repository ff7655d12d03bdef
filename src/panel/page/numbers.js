// Writes numbers as people do, from the digits that came: `Number` would round some of them.

const NUMBER = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;

/** Number of significant digits that decimals fill up. */
const SIGNIFICANT = 6;
/** Number of significant digits of a number below 1, and of the mantissa of a power. */
const SHORT = 4;
/** Powers of ten of the largest and the smallest number that is written without a power. */
const LARGEST = 20;
const SMALLEST = -7;

/** The signs that a language puts between groups of digits and before decimals. */
export function signsOf(language) {
  const parts = new Intl.NumberFormat(language).formatToParts(1234567.8);
  const sign = (type, otherwise) => parts.find((part) => part.type === type)?.value ?? otherwise;
  return { group: sign("group", " "), decimal: sign("decimal", ".") };
}

/**
 * The ways to write a number, from the most exact one that is readable to the shortest. None shows a number other than
 * zero as zero, unless `decimals` (the operator's choice) does.
 */
export function numberForms(text, signs, { decimals = null, grouped = true } = {}) {
  const number = read(text);
  if (!number) return [text];
  const write = (places) => plain(number, places, signs, grouped);
  if (number.digits === "") return [write(decimals ?? Math.min(number.places, 2))];
  const { power, digits, places } = number;
  if (!grouped && decimals === null) return [write(places)];
  if (power > LARGEST || (power < SMALLEST && decimals === null)) return powers(number, signs);
  if (decimals !== null) return [write(decimals), ...(power > 3 ? powers(number, signs) : [])];
  if (power < 0) {
    // The zeros after the decimal sign are not significant, so they do not use up the digits.
    const most = Math.min(digits.length, Math.max(SHORT, SIGNIFICANT + power));
    const counts = Array.from({ length: Math.max(1, most - 1) }, (_, at) => most - at);
    return unique([...counts.map((count) => write(count - 1 - power)), ...powers(number, signs)]);
  }
  const most = Math.min(places, Math.max(2, SIGNIFICANT - 1 - power));
  const forms = Array.from({ length: most + 1 }, (_, at) => write(most - at));
  return unique([...forms, ...(power > SHORT ? powers(number, signs) : [])]);
}

/** The number with an SI prefix: 512.1 and `GB` for 512110190592 and `B`. */
export function scaled(text, unit) {
  const value = Number(text);
  const step = Math.min(5, Math.floor(Math.log10(Math.abs(value) || 1) / 3));
  if (!Number.isFinite(value) || step < 1) return { text, unit };
  return { text: String(Number((value / 1000 ** step).toPrecision(SHORT))), unit: "kMGTP"[step - 1] + unit };
}

/** Sign, digits without zeros around them, the power of ten of the first digit, and the number of decimals. */
function read(text) {
  const found = NUMBER.exec(text);
  if (!found) return null;
  const [, sign, whole, fraction = "", exponent = "0"] = found;
  const all = whole + fraction;
  const first = all.search(/[1-9]/);
  const places = Math.max(0, fraction.length - Number(exponent));
  if (first < 0) return { sign, digits: "", power: 0, places };
  return { sign, digits: all.slice(first), power: whole.length - 1 - first + Number(exponent), places };
}

function plain(number, places, signs, grouped) {
  const { digits, power } = round(number, number.power + 1 + places);
  const zeros = "0".repeat(Math.max(0, -power));
  const filled = (zeros + digits).padEnd(Math.max(0, power) + 1, "0");
  const wholeLength = Math.max(0, power) + 1;
  const whole = filled.slice(0, wholeLength);
  const fraction = filled.slice(wholeLength, wholeLength + places).padEnd(places, "0");
  const separated = grouped && whole.length > 4 ? whole.replace(/\B(?=(\d{3})+$)/g, signs.group) : whole;
  return minus(number.sign && digits) + separated + (fraction && signs.decimal + fraction);
}

function powers(number, signs) {
  const most = Math.min(number.digits.replace(/0+$/, "").length, SHORT + 1);
  return Array.from({ length: Math.max(1, most - 2) }, (_, at) => {
    const { digits, power } = round(number, most - at);
    const rest = digits.slice(1).replace(/0+$/, "");
    return `${minus(number.sign)}${digits[0]}${rest && signs.decimal + rest}e${minus(power < 0)}${Math.abs(power)}`;
  });
}

/** The number's first `count` digits, rounded half away from zero. */
function round({ digits, power }, count) {
  if (count < 0) return { digits: "", power: 0 };
  if (count >= digits.length) return { digits, power };
  const kept = (digits[count] >= "5" ? BigInt(digits.slice(0, count) || "0") + 1n : BigInt(digits.slice(0, count) || "0")).toString();
  if (kept === "0") return { digits: "", power: 0 };
  return { digits: kept, power: power + kept.length - count };
}

function minus(negative) {
  return negative ? "−" : "";
}

function unique(forms) {
  return [...new Set(forms)];
}
