//! Templates and expressions: compiled once, evaluated on borrowed inputs, bounded in cost.
