package params

// A TransportParam is a kind of parameter that carries the name of a transport
// in front: smtp_destination_rate_delay.
type TransportParam struct {
	Suffix string
	Global string // name of the parameter that is its default
}

// TransportParams are all of them (spec config §10). A suffix that ends in
// another one stands before that.
var TransportParams = [...]TransportParam{
	{"_destination_concurrency_limit", "default_destination_concurrency_limit"},
	{"_destination_recipient_limit", "default_destination_recipient_limit"},
	{"_initial_destination_concurrency", "initial_destination_concurrency"},
	{"_destination_concurrency_positive_feedback", "default_destination_concurrency_positive_feedback"},
	{"_destination_concurrency_negative_feedback", "default_destination_concurrency_negative_feedback"},
	{"_destination_concurrency_failed_cohort_limit", "default_destination_concurrency_failed_cohort_limit"},
	{"_destination_rate_delay", "default_destination_rate_delay"},
	{"_transport_rate_delay", "default_transport_rate_delay"},
	{"_extra_recipient_limit", "default_extra_recipient_limit"},
	{"_recipient_limit", "default_recipient_limit"},
	{"_recipient_refill_limit", "default_recipient_refill_limit"},
	{"_recipient_refill_delay", "default_recipient_refill_delay"},
	{"_delivery_slot_cost", "default_delivery_slot_cost"},
	{"_delivery_slot_loan", "default_delivery_slot_loan"},
	{"_delivery_slot_discount", "default_delivery_slot_discount"},
	{"_minimum_delivery_slots", "default_minimum_delivery_slots"},
}

// TimeLimit is the one of services that run commands: pipe and spawn.
var TimeLimit = TransportParam{"_time_limit", "command_time_limit"}
