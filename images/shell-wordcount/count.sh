# Words of a file, or of every file of a folder: `path words` for each into out/words.txt, the sum to standard output.
set -eu
input=$1
echo "counting the words of $input" >&2
find "$input" -type f | sort | while IFS= read -r file; do
  printf '%s %s\n' "${file#/workspace/in/}" "$(wc -w <"$file")"
done >/workspace/out/words.txt
awk '{ sum += $NF } END { print sum + 0 }' /workspace/out/words.txt
