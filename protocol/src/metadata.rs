//! What a member tells the controller with a configuration request.
