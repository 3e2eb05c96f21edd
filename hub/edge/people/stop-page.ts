/**
 * The backup contact's page: one sentence and one red button, then how far it is (docs/safety.md 6). Pure: a view in, a page out. It needs
 * no script, no image and nothing from elsewhere. The watchdog has the same page written a second time; a test compares them.
 */
import { barePageHeaders, escaped } from './bare-page.ts'

export type StopView =
  /** The words are right: the button. `operator`: who to tell. `once`: the one-time field of its form. `next`: where it goes. */
  | { state: 'ask'; operator: string; once: string; next: string }
  /** No words yet: a place to type them. */
  | { state: 'type'; once: string }
  | { state: 'stopping'; confirmed: number; total: number; next: string }
  | { state: 'stopped' | 'already'; confirmed: number; operator: string }
  /** Not everything is confirmed gone, or nothing could be confirmed. */
  | { state: 'failed'; confirmed: number; total: number }
  | { state: 'refused' }

export interface StopAnswer {
  status: number
  headers: Record<string, string>
  html: string
}

/** How often the page asks again while something still runs. */
const REFRESH_S = 2

const CSS = `
:root{color-scheme:light dark;--ink:#16181d;--soft:#5b616e;--paper:#f6f7f9;--card:#fff;--edge:#e3e6eb;--red:#c8102e;--deep:#8f0a20;--green:#157f3c}
@media(prefers-color-scheme:dark){:root{--ink:#f2f4f7;--soft:#a4abb8;--paper:#0e1014;--card:#181b21;--edge:#2a2f38;--red:#e0283f;--deep:#9c0f26;--green:#3fbf6c}}
*{box-sizing:border-box}
html{height:100%;-webkit-text-size-adjust:100%}
body{min-height:100%;margin:0;padding:max(1.25rem,env(safe-area-inset-top)) 1.25rem max(1.25rem,env(safe-area-inset-bottom));display:flex;align-items:center;justify-content:center;background:var(--paper);color:var(--ink);font:1.15rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{width:100%;max-width:27rem;padding:2rem 1.5rem;border:1px solid var(--edge);border-radius:1.5rem;background:var(--card);text-align:center;box-shadow:0 1.5rem 3rem -1.5rem rgb(0 0 0/.25)}
h1{margin:0 0 .75rem;font-size:1.75rem;line-height:1.2;letter-spacing:-.01em;text-wrap:balance}
p{margin:0;text-wrap:balance}
p+p{margin-top:1rem}
.soft{color:var(--soft);font-size:1rem}
form{margin:2rem 0 .25rem}
textarea{display:block;width:100%;min-height:7.5rem;margin:0 0 1.75rem;padding:.85rem 1rem;border:2px solid var(--edge);border-radius:1rem;background:var(--paper);color:inherit;font:1.15rem/1.5 ui-monospace,"DejaVu Sans Mono",monospace;resize:vertical}
button{width:min(68vw,15rem);aspect-ratio:1;border:.6rem solid color-mix(in srgb,var(--red) 22%,var(--card));border-radius:50%;padding:1rem;background:radial-gradient(circle at 50% 32%,var(--red),var(--deep));background-clip:padding-box;color:#fff;font:700 1.7rem/1.15 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;cursor:pointer;-webkit-tap-highlight-color:transparent;touch-action:manipulation}
button:active{transform:scale(.97)}
:focus-visible{outline:.25rem solid var(--ink);outline-offset:.25rem}
progress{display:block;width:100%;height:.8rem;margin:1.5rem 0 1rem;border:0;border-radius:1rem;overflow:hidden;appearance:none;background:var(--edge)}
progress::-webkit-progress-bar{background:var(--edge)}
progress::-webkit-progress-value{background:var(--red);border-radius:1rem}
progress::-moz-progress-bar{background:var(--red);border-radius:1rem}
.sign{display:block;width:4.5rem;height:4.5rem;margin:0 auto 1.25rem}
.good{color:var(--green)}.bad{color:var(--red)}
a{color:inherit;font-weight:600}
@media print{body{background:#fff}}
`

const HEADERS = barePageHeaders(CSS)

const SIGNS = {
  good: '<svg class="sign good" viewBox="0 0 48 48" aria-hidden="true"><circle cx="24" cy="24" r="22" fill="none" stroke="currentColor" stroke-width="4"/><path d="M14 25l7 7 13-15" fill="none" stroke="currentColor" stroke-width="4" stroke-linecap="round" stroke-linejoin="round"/></svg>',
  bad: '<svg class="sign bad" viewBox="0 0 48 48" aria-hidden="true"><path d="M24 5L45 42H3Z" fill="none" stroke="currentColor" stroke-width="4" stroke-linejoin="round"/><path d="M24 18v11m0 6v.5" fill="none" stroke="currentColor" stroke-width="4" stroke-linecap="round"/></svg>',
} as const

const BUTTON = '<button type="submit">Stop everything</button>'
/** Without it a press does nothing. Only those who have seen the page know it. */
const onceField = (once: string): string => `<input type="hidden" name="once" value="${escaped(once)}">`

function bodyOf(view: StopView): string {
  switch (view.state) {
    case 'ask':
      return `<p>Press the red button to stop everything; nothing is deleted, and ${escaped(view.operator)} can start it again.</p>
<form method="post" action="${escaped(view.next)}">${onceField(view.once)}${BUTTON}</form>`
    case 'type':
      return `<p>Type the 12 words from the card and press the red button: everything stops, and nothing is deleted.</p>
<form method="post" action="/stop">${onceField(view.once)}<textarea name="words" aria-label="The 12 words" maxlength="300" required autocomplete="off" autocapitalize="none" autocorrect="off" spellcheck="false"></textarea>${BUTTON}</form>`
    case 'stopping':
      return `<h1>Stopping${view.total === 0 ? '' : `: ${view.confirmed} of ${view.total} confirmed`}</h1>
<progress max="${Math.max(1, view.total)}" value="${view.confirmed}"></progress>
<p class="soft">This takes up to a minute. This page updates by itself.</p>`
    case 'stopped':
    case 'already':
      return `${SIGNS.good}<h1>${view.state === 'already' ? 'It was already stopped' : 'Everything has stopped'}</h1>
<p>${view.state === 'already' ? 'Already stopped' : 'Stopped'}. Nothing was deleted. If this was a mistake, tell ${escaped(view.operator)}; it can be started again.</p>`
    case 'failed':
      return `${SIGNS.bad}<h1>Not everything has stopped</h1>
<p>${view.total === 0 ? 'Nothing shows what is still running' : `${view.confirmed} of ${view.total} are confirmed to have stopped`}. Go on with step 4 on the card: at the machine run hub-stop, or switch the machine off. That is allowed and harms nothing.</p>`
    case 'refused':
      return `<h1>These are not the words of the card</h1>
<p>Compare each word with the card and <a href="/stop">type them again</a>, or go on with step 2 on the card. Nothing was stopped.</p>`
  }
}

const TITLES: Readonly<Record<StopView['state'], string>> = {
  ask: 'Stop everything',
  type: 'Stop everything',
  stopping: 'Stopping',
  stopped: 'Everything has stopped',
  already: 'Already stopped',
  failed: 'Not everything has stopped',
  refused: 'Not accepted',
}

/** One word and two numbers for `hub-stop`, which reads no HTML. */
function wordOf(view: StopView): string {
  if (view.state === 'stopping' || view.state === 'failed') return `${view.state} ${view.confirmed} ${view.total}`
  if (view.state === 'stopped' || view.state === 'already') return `${view.state} ${view.confirmed} ${view.confirmed}`
  return view.state
}

export function stopPage(view: StopView): StopAnswer {
  const refresh =
    view.state === 'stopping' ? `<meta http-equiv="refresh" content="${REFRESH_S};url=${escaped(view.next)}">\n` : ''
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
${refresh}<title>${TITLES[view.state]}</title>
<style>${CSS}</style>
</head>
<body>
<main role="${view.state === 'ask' || view.state === 'type' ? 'main' : 'status'}">
${bodyOf(view)}
</main>
</body>
</html>
`
  return { status: view.state === 'refused' ? 403 : 200, headers: { ...HEADERS, 'hub-stop': wordOf(view) }, html }
}
