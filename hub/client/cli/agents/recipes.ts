/** The recipes by the word after `--lang`. */
import { aider } from './recipes/aider.ts'
import { claudeCode } from './recipes/claude-code.ts'
import { codex } from './recipes/codex.ts'
import { gemini } from './recipes/gemini.ts'
import { opencode } from './recipes/opencode.ts'
import { pythonModel } from './recipes/python-model.ts'
import type { Recipe } from './recipes/recipe.ts'

export const RECIPES: Readonly<Record<string, Recipe>> = {
  codex,
  gemini,
  'claude-code': claudeCode,
  opencode,
  aider,
  'python-model': pythonModel,
}
