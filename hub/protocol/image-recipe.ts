/** `image.yaml` beside an agent's card: what the image of the agent is made of (docs/images.md). Without one it is Node alone. */
import { z } from 'zod'

/** What an agent's image may stand on. */
export const IMAGE_BASES = ['node', 'python', 'shell', 'coding'] as const

/** Tools that are shells: an image with one is a declared exception, as one on the bases `shell` and `coding` is (docs/sandbox.md 8). */
const SHELLS: readonly string[] = ['sh', 'bash', 'dash', 'ash', 'busybox', 'fish', 'ksh', 'mksh', 'zsh']

const NPM_NAME = /^(?:@[a-z0-9][a-z0-9._-]*\/)?[a-z0-9][a-z0-9._-]*$/
const NPM_VERSION = /^\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?$/
const PIP_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?:\[[A-Za-z0-9._-]+(?:,[A-Za-z0-9._-]+)*\])?$/
/** PEP 440, without local versions: those are of no registry. */
const PIP_VERSION = /^(?:\d+!)?\d+(?:\.\d+)*(?:(?:a|b|rc)\d+)?(?:\.post\d+)?(?:\.dev\d+)?$/

const npmShape = z
  .string()
  .max(300)
  .refine((text) => {
    const at = text.lastIndexOf('@')
    return at > 0 && NPM_NAME.test(text.slice(0, at)) && NPM_VERSION.test(text.slice(at + 1))
  }, 'a package of npm is written NAME@VERSION with its exact version, such as left-pad@1.3.0')
const pipShape = z
  .string()
  .max(300)
  .refine((text) => {
    const [name = '', version = '', ...more] = text.split('==')
    return more.length === 0 && PIP_NAME.test(name) && PIP_VERSION.test(version)
  }, 'a package of pip is written NAME==VERSION with its exact version, such as requests==2.32.3')

/** Refused where two entries name one package: only one of them could be installed. */
const packages = <Shape extends z.ZodType<string>>(shape: Shape, nameOf: (text: string) => string) =>
  z
    .array(shape)
    .min(1)
    .max(64)
    .superRefine((list, context) => {
      const names = list.map(nameOf)
      for (const [at, name] of names.entries())
        if (names.indexOf(name) < at)
          context.addIssue({ code: 'custom', path: [at], message: `${name} is there twice` })
    })

/** The name in `NAME@VERSION`. */
export const npmNameOf = (text: string): string => text.slice(0, text.lastIndexOf('@'))
/** As registries compare names (PEP 503). */
const pipNameOf = (text: string): string =>
  (/^[A-Za-z0-9._-]+/.exec(text)?.[0] ?? '').toLowerCase().replaceAll(/[-_.]+/g, '-')

const fields = z.strictObject({
  base: z
    .enum(IMAGE_BASES)
    .optional()
    .meta({ usual: 'node' })
    .describe('what it stands on: `node`, `python`, `shell` or `coding`'),
  tools: z
    .array(
      z
        .string()
        .max(64)
        .regex(/^[A-Za-z0-9][A-Za-z0-9._+-]*$/, 'a tool is the name of a program, such as git'),
    )
    .min(1)
    .max(64)
    .optional()
    .describe('programs copied from the machine that builds, with the libraries and files they need'),
  packages: z
    .strictObject({
      npm: packages(npmShape, npmNameOf)
        .optional()
        .describe('packages of npm, each `NAME@VERSION`; no install script of theirs runs'),
      pip: packages(pipShape, pipNameOf)
        .optional()
        .describe('packages of Python, each `NAME==VERSION`; wheels only, for those need no install script'),
    })
    .optional()
    .describe('packages installed by the machine that builds; what was installed is kept in `image.lock`'),
  from: z
    .string()
    .max(300)
    .regex(
      /^(?:sha256:[0-9a-f]{64}|[a-z0-9][A-Za-z0-9._:/-]*(?:@sha256:[0-9a-f]{64})?)$/,
      'an image is the name or the id of one that the engine has',
    )
    .optional()
    .describe('an image that the engine has, in the place of all other keys: its layers, and our shim on top'),
  reason: z
    .string()
    .min(10)
    .max(500)
    .optional()
    .describe('why there is a shell in the image; needed where there is one, and only there'),
})

export type ImageRecipe = z.output<typeof fields>

/** Whether an image of this recipe holds a shell. Of one made `from` another nobody can say before that one is looked at. */
export const holdsShell = ({ base, tools = [] }: Pick<ImageRecipe, 'base' | 'tools'>): boolean =>
  base === 'shell' || base === 'coding' || tools.some((name) => SHELLS.includes(name))

/** Whether Python is in it. */
const holdsPython = ({ base, tools = [] }: Pick<ImageRecipe, 'base' | 'tools'>): boolean =>
  base === 'python' || tools.includes('python3')

/** Unknown keys are refused. */
export const imageRecipeShape = fields.superRefine((recipe, context) => {
  const refuse = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message })
  const { from, tools = [], packages: wanted, reason } = recipe
  if (from !== undefined) {
    for (const key of ['base', 'tools', 'packages', 'reason'] as const)
      if (recipe[key] !== undefined)
        refuse(key, 'an image made `from` another holds what that one holds; remove this key')
    return
  }
  if (holdsShell(recipe) && reason === undefined)
    refuse('reason', 'is missing: an image with a shell says why, in 10 characters or more')
  if (!holdsShell(recipe) && reason !== undefined)
    refuse('reason', 'is only for an image with a shell, and this has none')
  for (const [at, name] of tools.entries())
    if (tools.indexOf(name) < at)
      context.addIssue({ code: 'custom', path: ['tools', at], message: `${name} is there twice` })
  if (wanted?.pip !== undefined && !holdsPython(recipe))
    context.addIssue({
      code: 'custom',
      path: ['packages', 'pip'],
      message: 'packages of Python need Python: base: python, or python3 among the tools',
    })
})
