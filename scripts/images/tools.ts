/** What images take from this machine beside Node: a shell with a few tools, and tools by their names. No registry. */
import { type Layer, layerOf } from './archive.ts'
import { gitEntries } from './git.ts'
import {
  BaseMissing,
  certificateEntries,
  createLibraries,
  fileOf,
  findTool,
  isElf,
  linkOf,
  TOOL_FOLDERS,
  toolPath,
} from './host-files.ts'
import { npmEntries } from './npm.ts'
import type { TarEntry } from './tar.ts'

/** What people call a program where its file is named otherwise. */
const FILE_NAMES: Readonly<Record<string, string>> = { ripgrep: 'rg', findutils: 'find', diffutils: 'diff' }
/** Programs that are useless without folders of their own, which nobody has listed here. */
const MANY_FILES = new Set([
  ...[
    'perl',
    'ruby',
    'php',
    'java',
    'javac',
    'go',
    'gcc',
    'g++',
    'cc',
    'c++',
    'clang',
    'rustc',
    'cargo',
    'vim',
    'emacs',
    'docker',
  ],
])
const SHELL_TOOLS = [
  ...[
    'awk',
    'basename',
    'cat',
    'cp',
    'cut',
    'date',
    'dirname',
    'env',
    'expr',
    'find',
    'grep',
    'head',
    'ls',
    'mkdir',
    'mv',
  ],
  ...['rm', 'sed', 'sha256sum', 'sleep', 'sort', 'tail', 'tee', 'tr', 'uniq', 'wc'],
]
/** A shell and a few tools. Throws BaseMissing where the host has no shell. */
export function shellLayer(): Layer {
  const libraries = createLibraries()
  const shell = toolPath('dash') ?? toolPath('busybox') ?? toolPath('sh')
  if (shell === undefined) throw new BaseMissing('there is no dash, busybox or sh')
  libraries.add(shell)
  const entries = [fileOf('bin/sh', shell, 0o755)]
  for (const name of SHELL_TOOLS) {
    const path = toolPath(name)
    if (path === undefined) continue
    libraries.add(path)
    entries.push(fileOf(`usr/bin/${name}`, path, 0o755))
  }
  return layerOf('hub: a shell and its tools', [...entries, ...libraries.entries()])
}

/** What the base `coding` has beside the base `shell`: these always, and those where this machine has them. */
const CODING = {
  always: ['bash', 'git', 'diff', 'tar', 'gzip', 'xargs', 'touch', 'chmod', 'ln'],
  /** In words of the recipe; the last are of GNU coreutils and of what is beside them. */
  ifThere: [
    ...['ripgrep', 'make', 'patch', 'jq', 'npm', 'cmp', 'unzip', 'zip', 'xz', 'bzip2', 'file', 'tree', 'which'],
    ...[
      'base64',
      'comm',
      'df',
      'du',
      'echo',
      'egrep',
      'false',
      'fold',
      'id',
      'join',
      'md5sum',
      'mktemp',
      'nl',
      'nproc',
    ],
    ...[
      'od',
      'paste',
      'printf',
      'ps',
      'pwd',
      'readlink',
      'realpath',
      'rmdir',
      'seq',
      'sha1sum',
      'split',
      'stat',
      'tac',
    ],
    ...['test', 'timeout', 'true', 'truncate', 'uname', 'whoami', 'yes'],
  ],
}

/** Throws BaseMissing naming what this machine lacks of it. `say` is told what is left out. */
export function codingLayer(say: (line: string) => void = () => undefined): Layer {
  const have = CODING.ifThere.filter((name) => whyNoTool(name) === undefined)
  const lacking = CODING.ifThere.filter((name) => !have.includes(name))
  if (lacking.length > 0) say(`the base coding is without ${lacking.join(', ')}: this machine has none`)
  return toolsLayer([...CODING.always, ...have], 'hub: git, bash and other tools of a coding agent')
}

/** Why a recipe cannot have this tool; undefined if it can. */
function whyNoTool(name: string): string | undefined {
  if (name === 'npm' || name === 'npx') return npmEntries() === undefined ? `this machine has no whole npm` : undefined
  if (name === 'node') return 'node is in every image; remove it from the tools'
  if (MANY_FILES.has(name)) return `${name} needs more files than its program; use an image that has it: from: IMAGE`
  const path = findTool(FILE_NAMES[name] ?? name)
  if (path === undefined)
    return `this machine has no ${name} in ${TOOL_FOLDERS.join(', ')}; install it, or remove it from the tools`
  return isElf(path) ? undefined : `${name} is a script (${path}); only programs can be copied`
}

/**
 * These tools of this machine with their libraries and what they need while they run; `python3` is not among them (pythonLayer). Throws
 * BaseMissing naming the tool.
 */
export function toolsLayer(names: readonly string[], title = `hub: ${[...names].sort().join(', ')}`): Layer {
  const libraries = createLibraries()
  const entries = new Map<string, TarEntry>()
  const add = (...more: TarEntry[]) => {
    for (const entry of more) entries.set(entry.path, entry)
  }
  for (const name of names) {
    const why = whyNoTool(name)
    if (why !== undefined) throw new BaseMissing(why)
    if (name === 'npm' || name === 'npx') {
      // Its first line names `env`.
      const env = toolPath('env')
      if (env !== undefined) add(fileOf('usr/bin/env', env, 0o755))
      add(...(npmEntries() ?? []))
      continue
    }
    const path = toolPath(FILE_NAMES[name] ?? name) ?? ''
    libraries.add(path)
    add(fileOf(name === 'sh' ? 'bin/sh' : `usr/bin/${FILE_NAMES[name] ?? name}`, path, 0o755))
    // Scripts name it there.
    if (name === 'bash') add(linkOf('bin/bash', '/usr/bin/bash'))
    if (name === 'git') add(...gitEntries(path, libraries))
    if (name === 'git' || name === 'curl' || name === 'wget') add(...certificateEntries())
  }
  for (const library of libraries.entries()) add(library)
  return layerOf(title, [...entries.values()])
}

/** What of these tools the base does not hold already. */
export const toolsBeside = (base: string, tools: readonly string[]): string[] =>
  [...new Set(tools)]
    .filter((name) => name !== 'python3')
    .filter((name) => !((base === 'shell' || base === 'coding') && ['sh', ...SHELL_TOOLS].includes(name)))
    .filter((name) => !(base === 'coding' && CODING.always.includes(name)))
