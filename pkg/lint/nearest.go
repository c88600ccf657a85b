package lint

// nearest returns the candidate that a misspelt name most likely means, or "".
func nearest(name string, candidates []string) string {
	limit := min(len(name)/4, 3) + 1
	best := ""
	for _, other := range candidates {
		if len(other) > len(name)+limit || len(name) > len(other)+limit || other == name {
			continue
		}
		if d := distance(name, other, limit); d < limit {
			best, limit = other, d
		}
	}
	return best
}

// maxDistanceName bounds the names that are compared.
const maxDistanceName = 100

// distance is the number of letters to insert, remove, change or swap with
// their neighbour to make a out of b; limit or more is not worked out.
func distance(a, b string, limit int) int {
	if len(a) > maxDistanceName || len(b) > maxDistanceName {
		return limit
	}
	var rows [3][maxDistanceName + 1]int
	before, last, row := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, before[j-2]+1)
			}
			row[j] = d
			least = min(least, d)
		}
		if least >= limit {
			return limit
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
