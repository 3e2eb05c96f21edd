/** The base of an agent's image: `image.yaml` in its folder. Without one it is Node alone, as for the hub's own agents. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'

/** A shell is a declared exception with a reason (docs/sandbox.md 8). Unknown keys are refused. */
const recipeShape = z.discriminatedUnion('base', [
  z.strictObject({ base: z.enum(['node', 'python']) }),
  z.strictObject({ base: z.literal('shell'), reason: z.string().min(10).max(500) }),
])
export type Recipe = z.output<typeof recipeShape>

/** Throws if `image.yaml` is not a recipe, or if it and the card disagree about a shell. */
export function readRecipe(root: string, folder: string): Recipe {
  const file = join(folder, 'image.yaml')
  const recipe = existsSync(join(root, file)) ? parseRecipe(join(root, file), file) : { base: 'node' as const }
  const card = join(folder, 'agent.yaml')
  if (!existsSync(join(root, card))) return recipe
  const { shell = false } = (parse(readFileSync(join(root, card), 'utf8')) ?? {}) as { shell?: unknown }
  if (shell !== (recipe.base === 'shell')) {
    throw new Error(`${card} says shell: ${String(shell)}, but its image uses the base ${recipe.base}; make them agree`)
  }
  return recipe
}

function parseRecipe(path: string, name: string): Recipe {
  const parsed = recipeShape.safeParse(parse(readFileSync(path, 'utf8')))
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new Error(`${name}: ${issue?.path.join('.') || 'recipe'}: ${issue?.message}; see images/shell/image.yaml`)
}
