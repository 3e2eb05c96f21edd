/** What an agent's image is made of: `image.yaml` in its folder, read as strictly as a card. Without one it is Node alone, as for the hub's own agents. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { holdsShell, type IMAGE_BASES, type ImageRecipe, imageRecipeShape } from '../../hub/protocol/image-recipe.ts'
import { firstOf, judgeYaml } from '../../hub/protocol/judging.ts'

/** Of an image that is assembled from parts. */
export type Recipe = Omit<ImageRecipe, 'from' | 'base'> & { base: (typeof IMAGE_BASES)[number] }
/** Of an image that stands on another one of the engine. */
export interface FromRecipe {
  from: string
}

/** What is shown of an image must be so. */
export const disagreement = (folder: string, shell: unknown, uses: string): Error =>
  new Error(
    `${join(folder, 'agent.yaml')} says shell: ${String(shell)}, but its image uses ${uses}; make them agree: ` +
      (shell === true ? 'take `shell: true` out of the card' : 'write `shell: true` into the card'),
  )

/**
 * Throws if `image.yaml` is not a recipe, naming the line, or if it and the card disagree about a shell. `from` stands in for the file's own; with
 * it the file may say nothing else.
 */
export function readRecipe(root: string, folder: string, from?: string): Recipe | FromRecipe {
  const file = join(folder, 'image.yaml')
  const said = existsSync(join(root, file)) ? parseRecipe(join(root, file), file) : {}
  if (from !== undefined && said.from === undefined && Object.keys(said).length > 0)
    throw new Error(
      `${file} says ${Object.keys(said).join(', ')}, and --from names an image that brings all of it; take that out of ${file}, or leave --from out`,
    )
  const source = from ?? said.from
  if (source !== undefined) return { from: source }
  const recipe = { ...said, base: said.base ?? 'node' }
  const shell = shellOfCard(root, folder)
  if (shell !== undefined && shell !== holdsShell(recipe)) {
    const fault = disagreement(folder, shell, `the base ${recipe.base}`)
    // Built once with --from, and now without.
    if (Object.keys(said).length === 0)
      fault.message += ', or name the image it is made from: `from: IMAGE` in image.yaml'
    throw fault
  }
  return recipe
}

/** What the card says of a shell; undefined where there is no card. */
export function shellOfCard(root: string, folder: string): unknown {
  const card = join(root, folder, 'agent.yaml')
  if (!existsSync(card)) return undefined
  const { shell = false } = (parse(readFileSync(card, 'utf8')) ?? {}) as { shell?: unknown }
  return shell
}

function parseRecipe(path: string, name: string): ImageRecipe {
  const { value, faults } = judgeYaml(readFileSync(path, 'utf8'), imageRecipeShape)
  if (value !== undefined) return value
  throw new Error(`${name} ${firstOf(faults)}; docs/images.md tells what it may say`)
}
