/** Tables and pages of Markdown. Pure. */

/** A cell holds no bar and no line break of its own. */
const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ')

export const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n')

/** `from`: what the page is made from, so that a reader knows where to change it. */
export const page = (title: string, from: string, ...parts: readonly string[]): string =>
  `${[`# ${title}`, ...parts, `*Made by \`node scripts/build-docs.ts\` from ${from}. Change it there.*`].join('\n\n')}\n`

export const code = (text: string): string => `\`${text}\``
export const block = (language: string, text: string): string => `\`\`\`${language}\n${text.trimEnd()}\n\`\`\``
