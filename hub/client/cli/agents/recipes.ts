/** The recipes by the word after `--lang`. */
import { claudeCode } from './recipes/claude-code.ts'
import { codex } from './recipes/codex.ts'
import { gemini } from './recipes/gemini.ts'
import { pythonModel } from './recipes/python-model.ts'
import type { Recipe } from './recipes/recipe.ts'

export const RECIPES: Readonly<Record<string, Recipe>> = {
  codex,
  gemini,
  'claude-code': claudeCode,
  'python-model': pythonModel,
}
/** Wanted, and not there: refused by name. */
export const ABSENT: readonly string[] = ['opencode', 'aider']
