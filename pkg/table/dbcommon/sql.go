package dbcommon

// SQLClient is Client for the SQL types; it also reads parameter query or, where
// that is empty, the older parameters that make up a SELECT.
func (s *Source) SQLClient() (*Client, *Template) { return s.SQLClientWith("") }

// SQLClientWith is SQLClient for a query that is known already.
func (s *Source) SQLClientWith(query string) (*Client, *Template) {
	format := s.String("result_format", "%s", 1, 0)
	limit := s.Int("expansion_limit", 0, 0, 0)
	if query == "" {
		query = s.String("query", "", 0, 0)
	}
	if query == "" {
		table := s.String("table", "", 1, 0)
		field := s.String("select_field", "", 1, 0)
		where := s.String("where_field", "", 1, 0)
		more := s.String("additional_conditions", "", 0, 0)
		query = "SELECT " + field + " FROM " + table + " WHERE " + where + "='%s' " + more
	}
	template := s.Query(query)
	return s.NewClient(s.ResultFormat(format), limit), template
}
