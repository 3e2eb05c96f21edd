/** Coding CLIs of others that recipes install: which package, which version, and below which one nothing of a recipe has been tried. */

export interface CodingCli {
  /** What people call it. */
  title: string
  registry: 'npm' | 'pip'
  package: string
  /** What a recipe installs. */
  version: string
  /** The oldest version that does what the recipe relies on; `hub doctor` names an agent below it. */
  floor: string
  license: string
  /** What its recipe installs beside it, each with its version. */
  beside?: readonly string[]
}

export const CODING_CLIS = {
  codex: {
    ...{ title: 'Codex', registry: 'npm', package: '@openai/codex', license: 'Apache-2.0' },
    ...{ version: '0.171.0', floor: '0.171.0' },
  },
  gemini: {
    ...{ title: 'Gemini CLI', registry: 'npm', package: '@google/gemini-cli', license: 'Apache-2.0' },
    ...{ version: '0.61.0', floor: '0.61.0' },
  },
  'claude-code': {
    ...{
      title: 'Claude Code',
      registry: 'npm',
      package: '@anthropic-ai/claude-code',
      license: "Anthropic's own terms",
    },
    ...{ version: '2.1.332', floor: '2.1.332' },
  },
  opencode: {
    ...{ title: 'opencode', registry: 'npm', package: 'opencode-ai', license: 'MIT' },
    ...{ version: '1.18.33', floor: '1.18.33', beside: ['@vscode/ripgrep@1.18.0'] },
  },
  aider: {
    ...{ title: 'aider', registry: 'pip', package: 'aider-chat', license: 'Apache-2.0' },
    ...{ version: '0.86.2', floor: '0.86.2' },
  },
} as const satisfies Record<string, CodingCli>

/** All that the recipe of a CLI installs, as `image.yaml` writes it. */
export const packagesOf = ({ registry, package: name, version, beside = [] }: CodingCli): string[] => [
  `${name}${registry === 'npm' ? '@' : '=='}${version}`,
  ...beside,
]

/** The CLI that a package is; undefined for any other package. */
const cliOfPackage = (registry: string, name: string): CodingCli | undefined =>
  Object.values<CodingCli>(CODING_CLIS).find((cli) => cli.registry === registry && cli.package === name)

/** `0.171.0` to its numbers; what follows a `-` or `+` does not count. */
const numbersOf = (version: string): number[] =>
  (version.split(/[-+]/)[0] ?? '').split('.').map((part) => Number.parseInt(part, 10))

/** Whether a version is older than the floor of its CLI. What is no version counts as older. */
export function isBelowFloor(version: string, { floor }: Pick<CodingCli, 'floor'>): boolean {
  const [has, least] = [numbersOf(version), numbersOf(floor)]
  for (const [at, want] of least.entries()) {
    const got = has[at] ?? 0
    if (Number.isNaN(got) || got < want) return true
    if (got > want) return false
  }
  return false
}

/** `npm:@openai/codex@0.171.0 sha512-...` or `pip:NAME==VERSION ...`, as the record of a build names a package. */
const BUILT = /^(npm|pip):(.+?)(?:@|==)(\d[^\s@]*)(?: |$)/

/** A sentence for each package of an image that is a CLI below its floor. `packages`: as the record of its build has them. */
export const floorNotes = (packages: readonly string[]): string[] =>
  packages.flatMap((text) => {
    const [, registry = '', name = '', version = ''] = BUILT.exec(text) ?? []
    const cli = cliOfPackage(registry, name)
    if (cli === undefined || !isBelowFloor(version, cli)) return []
    return [
      `${cli.title} ${version} is older than ${cli.floor}, the oldest version that was tried here: write ${name}${registry === 'npm' ? '@' : '=='}${cli.version} into image.yaml and build again`,
    ]
  })
