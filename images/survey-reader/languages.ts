/** The language of a file by its name, or by its `#!` line if the name does not tell. */

const BY_EXTENSION: Readonly<Record<string, string>> = Object.assign(Object.create(null), {
  ...rows('TypeScript', 'ts mts cts tsx'),
  ...rows('JavaScript', 'js mjs cjs jsx'),
  ...rows('Python', 'py pyi'),
  ...rows('Go', 'go'),
  ...rows('Rust', 'rs'),
  ...rows('C', 'c h'),
  ...rows('C++', 'cc cpp cxx hpp hh'),
  ...rows('C#', 'cs'),
  ...rows('Java', 'java'),
  ...rows('Kotlin', 'kt kts'),
  ...rows('Swift', 'swift'),
  ...rows('Ruby', 'rb'),
  ...rows('PHP', 'php'),
  ...rows('Perl', 'pl pm'),
  ...rows('Lua', 'lua'),
  ...rows('Zig', 'zig'),
  ...rows('Elixir', 'ex exs'),
  ...rows('Haskell', 'hs'),
  ...rows('Scala', 'scala'),
  ...rows('Shell', 'sh bash zsh fish'),
  ...rows('SQL', 'sql'),
  ...rows('Rego', 'rego'),
  ...rows('HTML', 'html htm'),
  ...rows('CSS', 'css scss sass less'),
  ...rows('Vue', 'vue'),
  ...rows('Svelte', 'svelte'),
  ...rows('Markdown', 'md mdx markdown'),
  ...rows('JSON', 'json jsonc json5'),
  ...rows('YAML', 'yaml yml'),
  ...rows('TOML', 'toml'),
  ...rows('XML', 'xml xsd svg'),
  ...rows('Protobuf', 'proto'),
  ...rows('Terraform', 'tf'),
  ...rows('Text', 'txt rst'),
})
const BY_NAME: Readonly<Record<string, string>> = Object.assign(Object.create(null), {
  dockerfile: 'Dockerfile',
  makefile: 'Makefile',
})
const BY_INTERPRETER: readonly (readonly [RegExp, string])[] = [
  [/\b(?:ba|da|z|k|fi)?sh\b/, 'Shell'],
  [/\bpython/, 'Python'],
  [/\b(?:node|deno|bun)\b/, 'JavaScript'],
  [/\bruby\b/, 'Ruby'],
  [/\bperl\b/, 'Perl'],
]

function rows(language: string, extensions: string): Record<string, string> {
  return Object.fromEntries(extensions.split(' ').map((extension) => [extension, language]))
}

/** `head` is the file's beginning as text. What is not known is `Other`; binary files are the caller's to know. */
export function languageOf(path: string, head: string): string {
  const name = (path.split('/').at(-1) ?? '').toLowerCase()
  const dot = name.lastIndexOf('.')
  const known = BY_NAME[name] ?? (dot > 0 ? BY_EXTENSION[name.slice(dot + 1)] : undefined)
  if (known !== undefined) return known
  if (!head.startsWith('#!')) return 'Other'
  const line = head.slice(0, 200).split('\n', 1)[0] ?? ''
  return BY_INTERPRETER.find(([pattern]) => pattern.test(line))?.[1] ?? 'Other'
}
