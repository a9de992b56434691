package option

// Nearest returns the candidate that a misspelt word most likely stands for;
// "" when none is near. Distance counts letters that were left out, added,
// replaced or swapped with their neighbour.
func Nearest(word string, candidates []string) string {
	if len(word) > maxNearest {
		return ""
	}
	best, bestDistance := "", 1+max(1, len(word)/3)
	for _, c := range candidates {
		if len(c) > maxNearest || c == word {
			continue
		}
		if d := distance(word, c); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// DidYouMean is the end of a message about a word that is none of those that are
// known: it names the nearest, and is empty when none is near.
func DidYouMean(word string, known []string) string {
	if near := Nearest(word, known); near != "" {
		return "; did you mean '" + near + "'?"
	}
	return ""
}

const maxNearest = 64

// distance is the Damerau-Levenshtein distance of adjacent transpositions.
func distance(a, b string) int {
	var rows [3][maxNearest + 1]int // the row before the last, the last, this one
	before, last, this := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		this[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(last[j]+1, this[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, before[j-2]+1)
			}
			this[j] = d
		}
		before, last, this = last, this, before
	}
	return last[len(b)]
}

// unknown is the error for a key that is none of the candidates.
func unknown(key string, candidates []string) error {
	return &KeyError{Key: key, Near: Nearest(key, candidates)}
}

// KeyError is a key that an option does not have.
type KeyError struct {
	Key  string
	Near string // the known key that may have been meant, or ""
}

func (e *KeyError) Error() string {
	if e.Near == "" {
		return "Invalid parameter '" + e.Key + "'"
	}
	return "Invalid parameter '" + e.Key + "'; did you mean '" + e.Near + "'?"
}
