/** The recipes by the word after `--lang`. */
import { codex } from './recipes/codex.ts'
import { gemini } from './recipes/gemini.ts'
import type { Recipe } from './recipes/recipe.ts'

export const RECIPES: Readonly<Record<string, Recipe>> = { codex, gemini }
/** Wanted, and not there: refused by name. */
export const ABSENT: readonly string[] = ['claude-code', 'opencode', 'aider', 'python-model']
