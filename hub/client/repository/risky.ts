/** Which changed files run by themselves on the machine of whoever takes a branch: they are shown before anything else. */

/** For paths in lower case: a file system may not tell capital letters apart. */
const BY_PATH: readonly { path: RegExp; what: string }[] = [
  { path: /^\.github\/(workflows|actions)\//, what: 'runs at the forge' },
  {
    path: /^(\.gitlab-ci\.yml|\.circleci\/|jenkinsfile$|azure-pipelines\.yml$|\.travis\.yml$|\.drone\.yml$|bitbucket-pipelines\.yml$)/,
    what: 'runs at the forge',
  },
  { path: /(^|\/)(\.husky\/|\.githooks\/|\.pre-commit-config\.yaml$|lefthook\.ya?ml$)/, what: 'runs when you commit' },
  {
    path: /(^|\/)(gnumakefile|makefile|justfile|rakefile|taskfile\.ya?ml|cmakelists\.txt|meson\.build|[^/]*\.mk|[^/]*\.cmake)$/,
    what: 'runs when you build',
  },
  {
    path: /(^|\/)(build\.rs|setup\.py|setup\.cfg|conftest\.py|pyproject\.toml|noxfile\.py|tox\.ini|gruntfile\.js|gulpfile\.js|mix\.exs|pom\.xml|[^/]*\.gradle(\.kts)?|gradlew(\.bat)?|[^/]*\.gemspec|gemfile)$/,
    what: 'runs when you build or test',
  },
  {
    path: /(^|\/)(dockerfile[^/]*|containerfile|docker-compose[^/]*\.ya?ml|compose\.ya?ml)$/,
    what: 'runs when you build or start it',
  },
  {
    path: /(^|\/)(gradle\/wrapper\/|\.mvn\/|\.cargo\/config(\.toml)?$|\.bazelrc$|build(\.bazel)?$|workspace(\.bazel)?$|module\.bazel$|[^/]*\.bzl$|[^/]*\.nix$)/,
    what: 'runs when you build or test',
  },
  { path: /(^|\/)\.devcontainer(\/|\.json$)/, what: 'runs when an editor opens the folder' },
  { path: /(^|\/)(\.envrc|\.tool-versions|\.mise\.toml|mise\.toml)$/, what: 'runs when you enter the folder' },
  {
    path: /(^|\/)(\.vscode|\.idea|\.zed|\.vim|\.exrc|\.nvimrc|\.dir-locals\.el|\.gdbinit|\.lldbinit)(\/|$)/,
    what: 'is read by your editor or debugger',
  },
  {
    path: /(^|\/)(\.claude|\.codex|\.gemini|\.cursor|\.opencode|\.windsurf|\.roo|\.clinerules|\.aider[^/]*)(\/|$)|(^|\/)(\.mcp\.json|\.cursorrules|copilot-instructions\.md|agents\.md|claude\.md|gemini\.md)$/,
    what: 'is obeyed by your own agents',
  },
  {
    path: /(^|\/)(\.npmrc|\.yarnrc(\.yml)?|\.pnpmfile\.cjs|\.bunfig\.toml|pip\.conf)$/,
    what: 'changes what your installer does',
  },
  { path: /(^|\/)(\.gitattributes|\.gitmodules|\.lfsconfig)$/, what: 'changes what git itself does' },
]
const PACKAGE = /(^|\/)package\.json$/
/** Other lists of an installer. Lock files are not here: they change with every update, and nobody reads them. */
const FETCHES = /(^|\/)(requirements[^/]*\.txt|composer\.json|go\.mod|cargo\.toml)$/

/** The mode of a repository inside a repository, which is one commit and no files. */
const NESTED = '160000'

export interface Change {
  path: string
  /** The mode in the branch, as git writes it; 000000 for a file that is gone. */
  mode: string
}

export interface Risky {
  path: string
  what: string
}

/** A file of the base or of the branch. */
export interface Asked {
  side: 'base' | 'branch'
  path: string
}

/**
 * Pure but for `readAll`, which answers these files in their order, undefined for one that is not there. A `package.json` counts where its scripts differ,
 * a link where it leads out of the repository.
 */
export async function riskyOf(
  changes: readonly Change[],
  readAll: (asked: readonly Asked[]) => Promise<(string | undefined)[]>,
): Promise<Risky[]> {
  const asked = changes.flatMap(({ path, mode }): Asked[] => {
    if (mode === '120000') return [{ side: 'branch', path }]
    return mode !== '000000' && mode !== NESTED && PACKAGE.test(path.toLowerCase())
      ? [
          { side: 'base', path },
          { side: 'branch', path },
        ]
      : []
  })
  const texts = await readAll(asked)
  const read = new Map(asked.map(({ side, path }, at) => [`${side} ${path}`, texts[at]]))
  const found: Risky[] = []
  for (const { path, mode } of changes) {
    if (mode === '000000') continue
    if (mode === NESTED) {
      found.push({ path, what: 'is a repository of its own: its files did not come along' })
      continue
    }
    const lower = path.toLowerCase()
    const row = BY_PATH.find((each) => each.path.test(lower))
    if (row !== undefined) found.push({ path, what: row.what })
    else if (PACKAGE.test(lower)) {
      const [before, after] = [partsOf(read.get(`base ${path}`)), partsOf(read.get(`branch ${path}`))]
      if (before.runs !== after.runs) found.push({ path, what: 'its scripts run when you install, build or test' })
      else if (before.fetches !== after.fetches) found.push({ path, what: 'names what your installer fetches' })
    } else if (FETCHES.test(lower)) found.push({ path, what: 'names what your installer fetches' })
    if (mode === '120000' && leadsOut(path, read.get(`branch ${path}`) ?? '/'))
      found.push({ path, what: 'is a link that leads out of the repository' })
  }
  return found
}

/** What a `package.json` runs and what it fetches, each as text that can be compared; the whole file where it cannot be read. */
function partsOf(text: string | undefined): { runs: string; fetches: string } {
  if (text === undefined)
    return { runs: JSON.stringify([{}, null, null]), fetches: JSON.stringify([null, null, null, null, null]) }
  try {
    const { scripts, workspaces, bin, ...rest } = JSON.parse(text) as Record<string, unknown>
    const { dependencies, devDependencies, optionalDependencies, peerDependencies, overrides } = rest
    return {
      runs: JSON.stringify([scripts ?? {}, workspaces ?? null, bin ?? null]),
      fetches: JSON.stringify([dependencies, devDependencies, optionalDependencies, peerDependencies, overrides]),
    }
  } catch {
    return { runs: text, fetches: text }
  }
}

function leadsOut(path: string, target: string): boolean {
  if (target.startsWith('/')) return true
  let depth = path.split('/').length - 1
  for (const part of target.split('/')) {
    if (part === '..') depth -= 1
    else if (part !== '.' && part !== '') depth += 1
    if (depth < 0) return true
  }
  return false
}
