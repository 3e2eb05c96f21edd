/**
 * The backup contact's card, as text and as a page to print: five steps in this order and in plain words (docs/safety.md 6). Pure.
 * The person who holds it may be frightened, and knows nothing about this machine.
 */
import { encode, renderUnicodeCompact } from 'uqr'

export interface CardFacts {
  /** The twelve, in order. */
  words: readonly string[]
  /** `https://stop.example.net`; null where no address leads here from outside. */
  address: string | null
  contact: string
  operator: string
  /** '' = not given. */
  phone: string
  /** What else may be done at the machine; '' = the usual sentence. */
  lastResort: string
  /**
   * How long after the operator's last heartbeat everything stops by itself: "2 days 2 hours"; null if the watchdog does not say. A span
   * and no day: a card lies in a drawer for months, and each heartbeat moves the day (fault C18).
   */
  stopsAfter: string | null
  /** `hub-stop`, with ports where they are not the usual ones. */
  command: string
  id: string
  madeAt: string
}

export const urlOf = ({ address, words }: CardFacts): string | null =>
  address === null ? null : `${address}/stop/${words.join('-')}`

/** For a person who has never seen a terminal. */
const atTheMachine = (command: string): string =>
  `open a terminal (Ctrl, Alt and T together, or “Terminal” among the programs), type ${command}, press Enter, then type the 12 words.`

const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)

/** The five steps. `strong` begins each. */
export function cardSteps(facts: CardFacts): { strong: string; text: string }[] {
  const { operator, phone, address, stopsAfter, command, lastResort } = facts
  const by =
    stopsAfter === null
      ? 'it stops by itself when nobody looks after it.'
      : `it stops by itself ${stopsAfter} after ${operator} was last there. A message to you names the day.`
  const stop =
    address === null
      ? `go to the machine. ${sentence(atTheMachine(command))} Wait for “everything has stopped”.`
      : `scan the code, press the red button, and wait for “everything has stopped”. Without a camera: open ${address}/stop and type the 12 words.`
  const off = 'switch it off (hold its power button down for ten seconds): that is allowed and harms nothing.'
  const last =
    address === null
      ? lastResort === ''
        ? sentence(off)
        : lastResort
      : `at the machine ${atTheMachine(command)} ${lastResort === '' ? `Or ${off}` : lastResort}`
  return [
    { strong: 'You need not hurry.', text: `Nothing new starts, and ${by}` },
    {
      strong: `Call ${operator}${phone === '' ? '' : `, ${phone}`}.`,
      text: `Ask ${operator} to check in; then nothing else is needed.`,
    },
    { strong: 'To stop now:', text: stop },
    {
      strong: address === null ? 'If that does not work within 2 minutes:' : 'No answer within 2 minutes:',
      text: last,
    },
    { strong: 'Do not switch it on again.', text: `${operator} does that.` },
  ]
}

/** For the terminal; the code of the page can be scanned from it too. */
export function cardText(facts: CardFacts): string {
  const url = urlOf(facts)
  const words = facts.words.map((word, at) => `${String(at + 1).padStart(2)} ${word.padEnd(9)}`)
  const rows = [0, 4, 8].map((at) => `   ${words.slice(at, at + 4).join('  ')}`.trimEnd())
  return [
    `For ${facts.contact}, from ${facts.operator}`,
    '',
    ...cardSteps(facts).map(({ strong, text }, at) => `${at + 1}. ${strong} ${text}`),
    '',
    'The 12 words:',
    ...rows,
    `   in one line: ${facts.words.join('-')}`,
    ...(url === null ? [] : ['', renderUnicodeCompact(url, { ecc: 'M', border: 2 })]),
    '',
    `Card ${facts.id}, made ${facts.madeAt}. Whoever has it can stop everything and do nothing else.`,
  ].join('\n')
}

const escaped = (text: string): string => text.replace(/[&<>"']/g, (sign) => `&#${sign.codePointAt(0)};`)

/** The QR code as one SVG path: sharp in print at any size. */
function codeSvg(url: string): string {
  const { data, size } = encode(url, { ecc: 'M', border: 4 })
  const squares = data.flatMap((row, y) => row.flatMap((isDark, x) => (isDark ? [`M${x} ${y}h1v1h-1z`] : [])))
  return `<svg class="code" role="img" aria-label="Code to scan" viewBox="0 0 ${size} ${size}" shape-rendering="crispEdges"><rect width="${size}" height="${size}" fill="#fff"/><path d="${squares.join('')}" fill="#000"/></svg>`
}

const CSS = `
@page{margin:14mm}
*{box-sizing:border-box}
body{margin:0;background:#eceef2;color:#14161a;font:1.05rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:46rem;margin:2rem auto;padding:2.25rem 2.5rem;background:#fff;border-radius:1rem;box-shadow:0 1rem 3rem -1rem rgb(0 0 0/.3)}
header{display:flex;justify-content:space-between;align-items:baseline;gap:1rem;border-bottom:3px solid #c8102e;padding-bottom:.6rem}
h1{margin:0;font-size:1.6rem;letter-spacing:-.01em}
header p{margin:0;color:#5b616e}
.steps{margin:1.4rem 0;padding:0;list-style:none;counter-reset:step}
.steps li{counter-increment:step;position:relative;padding:.45rem 0 .45rem 3rem;break-inside:avoid}
.steps li::before{content:counter(step);position:absolute;left:0;top:.4rem;width:2.1rem;height:2.1rem;border-radius:50%;background:#14161a;color:#fff;font-weight:700;text-align:center;line-height:2.1rem}
.steps li:nth-child(3)::before{background:#c8102e}
.use{display:flex;gap:1.75rem;align-items:center;padding:1.25rem 1.5rem;border:2px solid #14161a;border-radius:.9rem;break-inside:avoid}
.code{flex:none;width:13.5rem;height:13.5rem}
.words{flex:1;display:grid;grid-template-columns:repeat(2,1fr);grid-auto-flow:column;grid-template-rows:repeat(6,auto);gap:.15rem 1.25rem;margin:0;padding:0;list-style:none;font:600 1.35rem/1.45 ui-monospace,"DejaVu Sans Mono",Menlo,monospace}
.words b{display:inline-block;width:1.9rem;color:#8a909c;font-weight:400;font-size:.95rem}
.wide .words{grid-template-columns:repeat(3,1fr);grid-template-rows:repeat(4,auto)}
footer{margin-top:1.1rem;color:#5b616e;font-size:.9rem}
code{font:600 .95em ui-monospace,"DejaVu Sans Mono",Menlo,monospace;white-space:nowrap}
@media(max-width:40rem){main{margin:0;border-radius:0;padding:1.5rem 1.25rem}.use{flex-direction:column}.words{width:100%}}
@media print{body{background:#fff}main{margin:0;padding:0;max-width:none;box-shadow:none}}
`

/** One page of paper. Nothing on it is fetched, and no script runs. */
export function cardPage(facts: CardFacts): string {
  const url = urlOf(facts)
  const step = ({ strong, text }: { strong: string; text: string }) =>
    `<li><strong>${escaped(strong)}</strong> ${escaped(text).replace(escaped(facts.command), `<code>${escaped(facts.command)}</code>`)}</li>`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="content-security-policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Card for ${escaped(facts.contact)}</title>
<style>${CSS}</style>
</head>
<body>
<main>
<header><h1>If something seems wrong</h1><p>for ${escaped(facts.contact)}, from ${escaped(facts.operator)}</p></header>
<ol class="steps">
${cardSteps(facts).map(step).join('\n')}
</ol>
<section class="${url === null ? 'use wide' : 'use'}">
${url === null ? '' : codeSvg(url)}
<ol class="words" data-words="${facts.words.join('-')}">
${facts.words.map((word, at) => `<li><b>${at + 1}</b>${word}</li>`).join('\n')}
</ol>
</section>
<footer>Keep this card like a key. Whoever has it can stop everything and do nothing else; nothing is ever deleted. Card ${facts.id}, made ${escaped(facts.madeAt)}.</footer>
</main>
</body>
</html>
`
}
