// Package glob matches texts with patterns.
package glob

// Match reports whether pattern, in which * stands for any characters and ? for
// one, matches all of s. Its time is at most the product of their lengths.
func Match(pattern, s string) bool {
	p, rest := []rune(pattern), []rune(s)
	i, j := 0, 0
	star, retry := -1, 0 // the last * and where in rest it was met
	for j < len(rest) {
		switch {
		case i < len(p) && p[i] == '*':
			star, retry = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == rest[j]):
			i, j = i+1, j+1
		case star >= 0:
			retry++
			i, j = star+1, retry
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
