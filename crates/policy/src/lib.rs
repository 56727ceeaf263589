//! One module for each thing that may refuse or change a request on its way.
